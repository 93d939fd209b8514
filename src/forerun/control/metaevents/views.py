"""A rule as its owner sees it: what it says, what holds of it now, and why it did or did not run its job."""

from collections.abc import Iterable
from typing import Any

import msgspec

from forerun.control.metaevents.rules import SLOW_S, SLOW_TIMES, Evaluation, Rule
from forerun.metaevents import Criteria, Part, explain, judge, label, next_moment


def summary(rule: Rule, now: float) -> dict[str, Any]:
    """A line of a list; times are epoch seconds, 0 for never."""
    memory, enabled = rule.memory, rule.definition.enabled
    return {
        "Name": rule.row.name,
        "Job": rule.definition.job,
        "Description": rule.definition.description,
        "Enabled": enabled,
        "Held": enabled and judge(rule.criteria, memory.state, now).held,
        "Fired": memory.fired,
        "Refused": memory.refused,
        "FiredAt": memory.fired_at,
        "NextMoment": next_moment(rule.criteria, memory.state, now) if enabled else None,
        "Created": rule.row.created,
        "Modified": rule.row.modified,
    }


def detail(rule: Rule, now: float) -> dict[str, Any]:
    """All of it; ``Why`` are sentences."""
    definition, memory = rule.definition, rule.memory
    judgement = judge(rule.criteria, memory.state, now)
    transformer = definition.transformer
    return {
        **summary(rule, now),
        "When": definition.when,
        "Input": msgspec.Raw(definition.input.encode()) if definition.input is not None else None,
        "InputTransformer": transformer,
        "Cooldown": definition.cooldown_s,
        "Since": memory.state.since,
        "Parts": parts(rule.criteria, judgement.parts),
        "Why": _why(rule, now),
        "LastEvent": memory.last,
        "Jobs": [
            {"Id": job.id, "RequestId": job.request_id, "At": job.at, "Chain": job.chain}
            for job in reversed(memory.jobs)
        ],
        "Evaluations": [_evaluation(each) for each in reversed(memory.evaluations)],
    }


def parts(criteria: Criteria, judged: Iterable[Part]) -> list[dict[str, Any]]:
    """Each node of the criteria with what was found."""
    return [
        {"Path": node.path, "Says": label(node), "Held": part.held, "Value": part.value}
        for node, part in zip(criteria.nodes, judged, strict=True)
    ]


def _why(rule: Rule, now: float) -> list[str]:
    if not rule.definition.enabled:
        return ["It is disabled: nothing is judged, and what happens meanwhile does not count."]
    memory = rule.memory
    said = explain(rule.criteria, memory.state, judge(rule.criteria, memory.state, now), now)
    if (cooling := rule.cooling_s(now)) > 0:
        said.append(f"Its cooldown lasts {cooling:.1f} s more: until then no job is run.")
    if rule.rests(now):
        said.append(
            f"Its expressions took more than {SLOW_S * 1000:g} ms for an event, {SLOW_TIMES} times in a row: it is left "
            f"alone for {rule.rests_until - now:.0f} s more, and what happens meanwhile does not count."
        )
    refused = next((each for each in reversed(memory.evaluations) if each.refused), None)
    if refused is not None:
        said.append(
            f"{now - refused.at:.1f} s ago its criteria came to hold, and no job was run: {refused.refused}."
        )
    if not memory.evaluations:
        said.append("Nothing that its criteria look for has happened since it was registered.")
    return said


def _evaluation(each: Evaluation) -> dict[str, Any]:
    return {
        "At": each.at,
        "Until": each.until,
        "Times": each.times,
        "Event": each.event,
        "Held": each.held,
        "Parts": [{"Held": part.held, "Value": part.value} for part in each.parts],
        "Job": each.job,
        "Refused": each.refused,
    }
