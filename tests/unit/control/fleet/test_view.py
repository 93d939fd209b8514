"""What hosts are believed to be like, against a model that keeps everything and looks everywhere."""

from collections import Counter

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from forerun.cluster import Beat
from forerun.control.fleet.indexes import Rooms
from forerun.control.fleet.state import HostState
from forerun.control.fleet.view import CANDIDATES_MOST, View
from forerun.host import HostStats, Standing
from forerun.model import ChannelQuality, HostInfo, Likely, Phase
from forerun.scheduling import Ask, Rule

NAMES = ("a", "b", "c")
KEYS = ("f", "g")
TREES = ("t", "u")
DEAD_S = 3.0
MEMORY_MB = 1024
CALL_MB = 128

names = st.sampled_from(NAMES)
keys = st.sampled_from(KEYS)
idles = st.dictionaries(keys, st.integers(0, 3))
trees = st.dictionaries(st.sampled_from(TREES), st.booleans())
channels = st.dictionaries(
    st.sampled_from(("s", "r")),
    st.none()
    | st.floats(0, 100).map(lambda ms: ChannelQuality(latency_ms=ms, samples=3, bytes_per_s=ms)),
)
standings = st.dictionaries(
    keys, st.none() | st.integers(0, 2).map(lambda number: Standing(preparing=number))
)


def info(name: str, incarnation: str = "1", phase: Phase = Phase.ACTIVE) -> HostInfo:
    return HostInfo(
        name=name,
        address="x:1",
        incarnation=incarnation,
        version="1",
        protocols=(1, 1),
        isolation="jail",
        memory_mb=MEMORY_MB,
        cpus=2,
        runtimes=("python3.11",),
        phase=phase,
    )


class Model:
    """One host, naively: what it said, and every call since."""

    def __init__(self, about: HostInfo) -> None:
        self.info = about
        self.open = about.phase is Phase.ACTIVE
        self.heard_at = 0.0
        self.idle: dict[str, int] = {}
        self.trees: set[str] = set()
        self.channels: dict[str, ChannelQuality] = {}
        self.standings: dict[str, Standing] = {}
        self.booked = 0
        self.busy = 0
        self.before: Counter[str] = Counter()
        self.since: Counter[str] = Counter()
        self.since_at = 0.0

    def told(self, beat: Beat, now: float) -> None:
        if beat.whole:
            self.idle, self.trees, self.channels, self.standings = {}, set(), {}, {}
        self.idle.update(beat.idle)
        for tree, there in beat.trees.items():
            (self.trees.add if there else self.trees.discard)(tree)
        for mine, said in ((self.channels, beat.channels), (self.standings, beat.standings)):
            for key, value in said.items():
                mine.pop(key, None) if value is None else mine.update({key: value})
        self.booked, self.busy = beat.stats.booked_mb, beat.stats.states["busy"]
        self.heard_at = now
        self.before, self.since = self.since, Counter()

    def change(self, what: str, by: int, now: float) -> None:
        if now - self.since_at >= 0.02:
            self.before.update(self.since)
            self.since, self.since_at = Counter(), now
        self.since[what] += by

    def corrected(self, what: str) -> int:
        return self.before[what] + self.since[what]

    def idle_of(self, key: str) -> int:
        return max(0, self.idle.get(key, 0) + self.corrected(f"idle {key}"))


class ViewMachine(RuleBasedStateMachine):
    """Hosts speak and fall silent, are lost and come again; calls go to them and end."""

    def __init__(self) -> None:
        super().__init__()
        self.view = View(Rule(), dead_s=DEAD_S)
        self.models: dict[str, Model] = {}
        self.now = 100.0
        self.calls: list[tuple[Model, str, bool, HostState]] = []

    @rule(
        name=names,
        whole=st.booleans(),
        idle=idles,
        trees=trees,
        channels=channels,
        standings=standings,
        numbers=st.tuples(st.integers(0, MEMORY_MB), st.integers(0, 9)),
        phase=st.sampled_from([Phase.ACTIVE, Phase.ACTIVE, Phase.CORDONED]),
        incarnation=st.sampled_from(["1", "1", "1", "2"]),
    )
    def beat(self, name, whole, idle, trees, channels, standings, numbers, phase, incarnation):
        about = info(name, incarnation, phase)
        model = self.models.get(name)
        if model is None or model.info.incarnation != incarnation:
            model = self.models[name] = Model(about)
        model.info = about
        booked, busy = numbers
        stats = HostStats(
            name=name,
            isolation="jail",
            memory_mb=MEMORY_MB,
            booked_mb=booked,
            states={"busy": busy, "idle": 1},
            pools={},
            waiting=0,
            starts={},
            destroyed=0,
            failed=0,
        )
        beat = Beat(
            sequence=1,
            sent=0.0,
            whole=whole,
            stats=stats,
            idle=idle,
            trees=trees,
            channels=channels,
            standings=standings,
        )
        model.told(beat, self.now)
        model.open = phase is Phase.ACTIVE
        self.view.told(about, msgspec.structs.replace(beat), self.now)

    @rule(name=names, key=keys)
    def send(self, name, key):
        state, model = self.view.get(name), self.models.get(name)
        if state is None or model is None:
            return
        warm = model.idle_of(key) > 0
        assert self.view.sent(state, _ask(key), self.now) is warm
        model.change("running", 1, self.now)
        model.change(f"idle {key}" if warm else "mb", -1 if warm else CALL_MB, self.now)
        self.calls.append((model, key, warm, state))

    @rule(which=st.integers(0, 50), idle=st.booleans())
    def end(self, which, idle):
        if not self.calls:
            return
        # Its host may be gone, or another one of that name.
        model, key, warm, state = self.calls.pop(which % len(self.calls))
        freed_mb = 0 if idle or warm else CALL_MB
        self.view.ended(state, _ask(key), self.now, idle=idle, freed_mb=freed_mb)
        model.change("running", -1, self.now)
        model.change("mb", -freed_mb, self.now)
        if idle:
            model.change(f"idle {key}", 1, self.now)

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.5, 2.0]))
    def wait(self, seconds):
        self.now += seconds
        silent = {
            name
            for name, model in self.models.items()
            if model.open and model.heard_at < self.now - DEAD_S
        }
        assert set(self.view.silent(self.now)) == silent
        for name in silent:
            self.models[name].open = False

    @rule(name=names)
    def lose(self, name):
        assert self.view.lost(name) is (name in self.models)
        self.models.pop(name, None)

    @rule()
    def refresh(self):
        self.view.refresh()

    @invariant()
    def hosts_are_as_in_the_model(self):
        assert {state.name for state in self.view} == set(self.models)
        for name, model in self.models.items():
            state = self.view.get(name)
            assert state.open is model.open
            assert state.idle == {key: model.idle_of(key) for key in KEYS if model.idle_of(key)}
            assert (state.trees, state.channels) == (model.trees, model.channels)
            fast = {s: q.bytes_per_s for s, q in model.channels.items() if s in state.ways}
            assert state.rates == {s: rate for s, rate in fast.items() if rate}
            assert state.standings == model.standings
            assert state.free_mb == max(0, MEMORY_MB - model.booked - model.corrected("mb"))
            assert state.load == max(0, model.busy + model.corrected("running")) / 2

    @invariant()
    def indexes_are_as_in_the_model(self):
        models = self.models.items()
        for key in KEYS:
            assert sorted(self.view.with_idle(key)) == sorted(
                name for name, model in models if model.idle_of(key)
            )
        for tree in TREES:
            assert sorted(self.view.with_tree(tree)) == sorted(
                name for name, model in models if tree in model.trees
            )
        for service in ("s", "r"):
            assert self.view.channels(service) == {
                name: model.channels[service] for name, model in models if service in model.channels
            }

    @invariant()
    def with_few_hosts_all_that_have_room_are_candidates(self):
        found = self.view.candidates(_ask("f"), services=[Likely("s", 1.0)], chance=0.3)
        able = [state for state in self.view if state.open and state.room_mb >= CALL_MB]
        assert set(able) <= set(found)


def _ask(key: str) -> Ask:
    return Ask(key=key, runtime="python3.11", memory_mb=CALL_MB)


ViewMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestView = ViewMachine.TestCase


def test_an_idle_sandbox_that_two_told_of_is_there_once() -> None:
    """A host says that a sandbox is gone which a call has taken; that its call ends with one idle is not one more than it said."""
    machine = ViewMachine()
    said = {"channels": {}, "standings": {}, "trees": {}, "numbers": (0, 0)}
    said |= {"name": "a", "phase": Phase.ACTIVE, "incarnation": "1"}
    machine.beat(idle={"f": 1}, whole=False, **said)
    machine.send(name="a", key="f")
    machine.beat(idle={}, whole=True, **said)
    machine.end(which=0, idle=True)
    machine.hosts_are_as_in_the_model()


def test_candidates_are_bounded_and_hold_the_warm_and_the_near_ones() -> None:
    view = View(Rule(), dead_s=DEAD_S)
    for number in range(400):
        idle = {"f": 1} if number in (7, 390) else {}
        paths = {"s": ChannelQuality(latency_ms=1.0 if number == 133 else 60.0, samples=5)}
        stats = HostStats(
            name=f"h{number}",
            isolation="jail",
            memory_mb=MEMORY_MB,
            booked_mb=0,
            states={},
            pools={},
            waiting=0,
            starts={},
            destroyed=0,
            failed=0,
        )
        beat = Beat(sequence=1, sent=0.0, whole=True, stats=stats, idle=idle, channels=paths)
        view.told(info(f"h{number}"), beat, 0.0)
    for chance in (0.0, 0.31, 0.999):
        found = view.candidates(_ask("f"), services=[Likely("s", 1.0)], chance=chance)
        assert len(found) <= CANDIDATES_MOST
        assert {"h7", "h390", "h133"} <= {state.name for state in found}
        # And some that are only drawn.
        assert len(found) > 8


def test_what_is_drawn_has_about_the_room_and_differs_by_chance() -> None:
    rooms: Rooms[int] = Rooms()
    for number in range(1000):
        rooms.set(number, number)
    drawn: Counter[int] = Counter()
    for turn in range(200):
        some = rooms.some(512, 8, turn / 200)
        assert len(set(some)) == len(some) <= 8
        assert all(number >= 512 for number in some)
        drawn.update(some)
    assert len(drawn) > 300
    rooms.set(999, 1)
    rooms.discard(998)
    assert not {998, 999} & {each for turn in range(500) for each in rooms.some(512, 8, turn / 500)}


def test_a_call_that_ends_when_its_host_is_gone_leaves_nothing_behind() -> None:
    view = View(Rule(), dead_s=DEAD_S)
    stats = HostStats(
        name="a",
        isolation="jail",
        memory_mb=MEMORY_MB,
        booked_mb=0,
        states={},
        pools={},
        waiting=0,
        starts={},
        destroyed=0,
        failed=0,
    )
    state = view.told(info("a"), Beat(sequence=1, sent=0.0, whole=True, stats=stats), 0.0)
    view.sent(state, _ask("f"), 0.0)
    view.lost("a")
    view.ended(state, _ask("f"), 0.1, idle=True)
    assert view.with_idle("f") == []
