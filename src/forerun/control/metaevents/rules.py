"""A rule: what its owner wrote, compiled, and what it remembers."""

from collections.abc import Mapping
from typing import Any

import msgspec

from forerun.errors import InvalidInput
from forerun.metaevents import (
    Allowance,
    Criteria,
    Fact,
    Judgement,
    Part,
    State,
    parse_criteria,
    parse_span,
)
from forerun.model import function_arn, parse_function_ref
from forerun.patterns import Constant, Form, Whole, parse_constant, parse_template
from forerun.storage.metaevents import RuleRow

EVALUATIONS = 50
JOBS = 20
MOST_DEFINITION = 16 * 1024
# Expressions are short, and yet a pattern can be thought of that takes long: such a rule is left alone.
SLOW_S, SLOW_TIMES, REST_S = 0.02, 3, 60.0

Key = tuple[str, str]
"""Account and name of a rule."""


class Definition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the owner wrote. ``job`` is the ARN of a function; ``input`` JSON as text, ``transformer`` as AWS's InputTransformer."""

    when: dict[str, Any]
    job: str
    input: str | None = None
    transformer: dict[str, Any] | None = None
    description: str = ""
    enabled: bool = True
    cooldown_s: float = 0.0


class Evaluation(msgspec.Struct, array_like=True):
    """What an event, or a moment, led to; ``times`` in a row with the same result, the first ``at`` and the last ``until``.

    ``event`` is empty where time alone passed. ``job`` is the id of the metaevent that was raised, ``refused`` why none was
    although the criteria came to hold. ``parts`` are as they were last. Times are epoch seconds.
    """

    at: float
    until: float
    times: int
    event: str
    held: bool
    parts: tuple[Part, ...]
    job: str = ""
    refused: str = ""


class Job(msgspec.Struct, frozen=True, array_like=True):
    """A job that was run; ``request_id`` is that of its invocation, ``chain`` the metaevents up to this one."""

    id: str
    request_id: str
    at: float
    chain: tuple[str, ...]


class Memory(msgspec.Struct, kw_only=True):
    """What a rule remembers over a restart. ``fired`` and ``refused`` count; ``last`` is the last event that matched a part."""

    state: State
    allowance: Allowance
    fired: int = 0
    refused: int = 0
    fired_at: float = 0.0
    jobs: list[Job] = []
    evaluations: list[Evaluation] = []
    last: dict[str, Any] | None = None


class Rule:
    """One rule of an account. ``due`` is when time alone may change what holds; ``unsent`` jobs are on their way.

    ``slow`` events in a row took it too long; then it rests until ``rests_until`` (epoch seconds).
    """

    def __init__(self, row: RuleRow, per_minute: float) -> None:
        self.row = row
        self.key: Key = (row.account, row.name)
        self.definition = msgspec.json.decode(row.definition, type=Definition)
        self.criteria: Criteria = parse_criteria(self.definition.when)
        self.form = form_of(self.definition)
        self.memory = Memory(
            state=State(since=row.since), allowance=Allowance(per_minute, row.since)
        )
        self.due: float | None = None
        self.unsent = 0
        self.slow = 0
        self.rests_until = 0.0

    def restore(self, memory: Memory) -> None:
        """Take over what was remembered."""
        self.memory = memory

    def note(self, now: float, event: str, judgement: Judgement) -> Evaluation:
        """Keep what came of it, together with the one before if nothing changed."""
        evaluations = self.memory.evaluations
        if evaluations and not judgement.rose:
            last = evaluations[-1]
            if (last.event, last.held) == (event, judgement.held) and not (
                last.job or last.refused
            ):
                last.times += 1
                last.until, last.parts = now, judgement.parts
                return last
        made = Evaluation(now, now, 1, event, judgement.held, judgement.parts)
        evaluations.append(made)
        del evaluations[:-EVALUATIONS]
        return made

    def ran(self, job: Job) -> None:
        """Remember a job."""
        self.memory.jobs.append(job)
        del self.memory.jobs[:-JOBS]

    def saw(self, fact: Fact) -> None:
        """Remember the last event that has to do with it."""
        self.memory.last = {
            "event": fact.kind,
            "function": fact.function,
            "requestId": fact.request_id,
            "at": fact.at,
            "status": fact.fields.get("status"),
        }

    def took(self, seconds: float, now: float) -> None:
        """An event took it so long. One that holds up all others again and again is left alone for a while."""
        if seconds < SLOW_S:
            self.slow = 0
            return
        self.slow += 1
        if self.slow >= SLOW_TIMES:
            self.slow = 0
            self.rests_until = now + REST_S

    def rests(self, now: float) -> bool:
        """Whether it is left alone."""
        if self.rests_until > now + REST_S:
            # The clock was set back.
            self.rests_until = 0.0
        return now < self.rests_until

    def cooling_s(self, now: float) -> float:
        """Seconds that its cooldown still lasts; not longer than it is, whatever the clock did."""
        cooldown = self.definition.cooldown_s
        if not cooldown or not self.memory.fired_at:
            return 0.0
        return min(cooldown, self.memory.fired_at + cooldown - now)


def read_definition(given: Mapping[str, Any], account: str, region: str) -> Definition:
    """Check what ``put-metaevent`` was given, but for whether the function exists. ``InvalidInput`` names the field."""
    parse_criteria(given.get("When"))
    transformer = given.get("InputTransformer")
    definition = Definition(
        when=given["When"],
        job=_job(given.get("Job"), account, region),
        input=_json(given["Input"]) if "Input" in given else None,
        transformer=transformer,
        description=_text(given.get("Description", ""), "Description", 512),
        enabled=_flag(given.get("Enabled", True), "Enabled"),
        cooldown_s=parse_span(given["Cooldown"], "Cooldown") if given.get("Cooldown") else 0.0,
    )
    form_of(definition)
    if len(msgspec.json.encode(definition)) > MOST_DEFINITION:
        raise InvalidInput(f"A metaevent has at most {MOST_DEFINITION} bytes of JSON")
    return definition


def form_of(definition: Definition) -> Form:
    """What the job is given of the metaevent."""
    transformer = definition.transformer
    if definition.input is not None and transformer is not None:
        raise InvalidInput("Give Input or InputTransformer, not both")
    if definition.input is not None:
        return Constant(parse_constant(definition.input).text)
    if transformer is None:
        return Whole()
    if not isinstance(transformer, dict) or transformer.keys() - {"InputPathsMap", "InputTemplate"}:
        raise InvalidInput("InputTransformer must have InputTemplate and may have InputPathsMap")
    paths, template = transformer.get("InputPathsMap", {}), transformer.get("InputTemplate")
    if not isinstance(template, str):
        raise InvalidInput("InputTransformer.InputTemplate must be a text")
    if not isinstance(paths, dict) or not all(isinstance(path, str) for path in paths.values()):
        raise InvalidInput("InputTransformer.InputPathsMap must name paths, each a text")
    return parse_template(paths, template)


def _job(given: object, account: str, region: str) -> str:
    if not isinstance(given, str) or not given or len(given) > 256:
        raise InvalidInput("Job must be the name or ARN of a function, with a qualifier if wished")
    ref = parse_function_ref(given)
    if ref.account not in (None, account) or ref.region not in (None, region):
        raise InvalidInput(f"Job must be a function of this account in {region}, not '{given}'")
    return function_arn(region, account, ref.name, ref.qualifier)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _text(value: object, name: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise InvalidInput(f"{name} must be a text of at most {most} characters")
    return value


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} must be true or false")
    return value
