"""Absences and windows against a model that keeps a list of everything, whatever the clock does."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests.unit.metaevents.made import Judged, fact, leaf

from forerun.metaevents import advance, next_moment

WITHIN = 5.0
OVER = 6.0
LENGTH = OVER / 60
ABSENT = {"absent": leaf(), "within": WITHIN}
MANY = {"count": leaf(), "over": OVER, "at_least": 3}
FEW = {"count": leaf(), "over": OVER, "less_than": 2}
EITHER = {"any": [leaf(function="g"), ABSENT]}


class Model:
    """Everything that happened. ``since`` is when the rules began."""

    def __init__(self, since):
        self.since = since
        self.seen = []
        self.counted = []

    def happened(self, now):
        self.seen.append(now)
        self.counted.append(now)

    def set_back(self, now):
        self.since = min(self.since, now)
        self.seen = [min(at, now) for at in self.seen]
        self.counted = [
            at for at in self.counted if math.floor(at / LENGTH) <= math.floor(now / LENGTH)
        ]

    def count(self, now):
        """What has left the window does not come back with a clock that is set back."""
        step = math.floor(now / LENGTH)
        self.counted = [at for at in self.counted if math.floor(at / LENGTH) > step - 60]
        return len(self.counted)

    def holds(self, now):
        last = max([self.since, *self.seen])
        return {
            "absent": now >= last + WITHIN,
            "many": self.count(now) >= 3,
            "either": now >= last + WITHIN,
            "few": self.count(now) < 2 and now >= self.since + OVER,
        }


class Watched(RuleBasedStateMachine):
    @initialize(now=st.floats(1e3, 2e9))
    def begin(self, now):
        self.now = now
        self.model = Model(now)
        self.rules = {
            name: Judged(when, since=now)
            for name, when in (
                ("absent", ABSENT),
                ("many", MANY),
                ("few", FEW),
                ("either", EITHER),
            )
        }
        self.held = self.model.holds(now)
        self.fired = dict.fromkeys(self.rules, 0)
        self.expected = dict.fromkeys(self.rules, 0)

    @rule(seconds=st.floats(0, 20) | st.sampled_from([0.1, 1.0, WITHIN, OVER]))
    def wait(self, seconds):
        """The rules are asked when they said; what holds never lies between two moments unseen."""
        until = self.now + seconds
        for name, judged in self.rules.items():
            now = self.now
            for _ in range(500):
                moment = next_moment(judged.criteria, judged.state, now)
                if moment is None or moment > until:
                    break
                assert moment > now
                now = moment
                self.fired[name] += advance(judged.criteria, judged.state, now).rose
            else:
                raise AssertionError(f"{name} is asked without end")
            self.fired[name] += advance(judged.criteria, judged.state, until).rose
        self._pass(until)

    @rule(back=st.floats(0.5, 1e4))
    def set_clock_back(self, back):
        self.now = max(1.0, self.now - back)
        self.model.set_back(self.now)
        self._look()

    @rule(ahead=st.floats(1, 1e6))
    def clock_jumps_ahead(self, ahead):
        self.now += ahead
        self._look()

    @rule(again=st.integers(1, 4))
    def it_happens(self, again):
        for _ in range(again):
            self._expect(self.model.holds(self.now))
            self.model.happened(self.now)
            self._expect(self.model.holds(self.now))
            for name, judged in self.rules.items():
                self.fired[name] += judged.see(fact(self.now)).rose
        self._compare()

    @rule()
    def something_else_happens(self):
        """It concerns one of the rules, for a moment."""
        self._expect(self.model.holds(self.now))
        self.expected["either"] += not self.held["either"]
        for name, judged in self.rules.items():
            judgement = judged.see(fact(self.now, function="g"))
            assert (judgement is None) == (name != "either")
            self.fired[name] += judgement is not None and judgement.rose
        self._compare()

    def _look(self):
        for name, judged in self.rules.items():
            self.fired[name] += advance(judged.criteria, judged.state, self.now).rose
        self._expect(self.model.holds(self.now))
        self._compare()

    def _pass(self, until):
        """Time goes by in the model: each moment at which something can change is looked at."""
        moments = {at + OVER for at in self.model.counted} | {
            max([self.model.since, *self.model.seen]) + WITHIN,
            self.model.since + OVER,
            until,
        }
        steps = {(math.floor(at / LENGTH) + 60) * LENGTH for at in self.model.counted}
        nudged = {moment + 0.011 for moment in steps}
        for moment in sorted(moments | steps | nudged):
            if self.now < moment <= until:
                self._expect(self.model.holds(moment))
        self.now = until
        self._compare()

    def _expect(self, holds):
        for name, held in holds.items():
            self.expected[name] += held and not self.held[name]
        self.held = holds

    def _compare(self):
        assert self.fired == self.expected
        for name, judged in self.rules.items():
            assert judged.state.held == self.held[name], name


Watched.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_watched = Watched.TestCase
