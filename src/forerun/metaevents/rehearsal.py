"""What criteria would do with given events, in virtual time; nothing is run."""

from collections.abc import Sequence

import msgspec

from forerun.metaevents.criteria import Criteria
from forerun.metaevents.evaluating import Judgement, State, advance, next_moment, observe
from forerun.metaevents.expressions import bind
from forerun.metaevents.facts import Fact, bindings

MOST_STEPS = 1_000


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A judgement at ``at`` (epoch seconds); ``event`` is the kind of what happened then, empty where only time passed."""

    at: float
    event: str
    judgement: Judgement
    fires: bool


def rehearse(
    criteria: Criteria,
    facts: Sequence[Fact],
    *,
    since: float,
    until: float,
    cooldown_s: float = 0.0,
) -> list[Step]:
    """Judge each fact (in the order of their times), and each moment between them that matters, from ``since`` to ``until``.

    At most ``MOST_STEPS``; moments at which nothing came to hold are left out.
    """
    run = _Run(criteria, State(since=since), cooldown_s)
    for fact in sorted(facts, key=lambda each: each.at):
        run.pass_to(fact.at)
        run.take(fact)
    run.pass_to(until)
    return run.steps[:MOST_STEPS]


class _Run:
    def __init__(self, criteria: Criteria, state: State, cooldown_s: float) -> None:
        self.steps: list[Step] = []
        self._criteria = criteria
        self._state = state
        self._cooldown_s = cooldown_s
        self._now = state.since
        self._fired: float | None = None

    def pass_to(self, until: float) -> None:
        for _ in range(MOST_STEPS):
            moment = next_moment(self._criteria, self._state, self._now)
            if moment is None or moment > until:
                break
            self._now = moment
            judgement = advance(self._criteria, self._state, moment)
            if judgement.rose:
                self._step("", judgement)
        self._now = max(self._now, until)

    def take(self, fact: Fact) -> None:
        judgement = observe(
            self._criteria, self._state, fact, lambda: bind(fact.kind, bindings(fact)), self._now
        )
        if judgement is not None:
            self._step(fact.kind, judgement)

    def _step(self, event: str, judgement: Judgement) -> None:
        cooling = self._fired is not None and self._now - self._fired < self._cooldown_s
        fires = judgement.rose and not cooling
        if fires:
            self._fired = self._now
        self.steps.append(Step(at=self._now, event=event, judgement=judgement, fires=fires))
