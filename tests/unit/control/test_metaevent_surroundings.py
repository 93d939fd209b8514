"""What nobody tells by itself is looked at: the host, new findings, deployments; for those alone who ask."""

from types import SimpleNamespace

import msgspec
import pytest
from tests.fakes.clock import FakeClock, settle
from tests.unit.control.watching import MINE, OTHERS
from tests.unit.profiles.findings.profiles import always, profile

from forerun.control.metaevents import Surroundings
from forerun.control.metaevents.index import Index
from forerun.control.metaevents.rules import Definition, Rule
from forerun.errors import NotFound, StorageFailed
from forerun.events import Bus, FindingRaised, FunctionChanged, HostChanged
from forerun.host import HostStats
from forerun.storage.metaevents import RuleRow

SLOW = profile(callees=[always(critical_share=0.6)])


class World:
    """A host, profiles and functions of ``MINE``, and what was noted of them."""

    def __init__(self):
        self.stats = HostStats(
            name="h",
            isolation="jail",
            memory_mb=1000,
            booked_mb=100,
            states={"idle": 1, "busy": 2},
            pools={},
            waiting=0,
            starts={"pool": 5},
            destroyed=1,
            failed=0,
        )
        self.profiles = []
        self.functions = {"old": "1"}
        self.asked = []
        self.fails = False
        self.index = Index()
        self.notices = []
        self.bus = Bus()
        self.bus.note = self.notices.append
        self.surroundings = Surroundings(
            index=self.index,
            bus=self.bus,
            clock=FakeClock(),
            stats=lambda: self.stats,
            profiles=self.profiles_of,
            functions=self.functions_of,
            resolve=self.resolve,
        )

    async def profiles_of(self, account):
        self.asked.append(account)
        if self.fails:
            raise StorageFailed("no")
        return list(self.profiles)

    async def functions_of(self, account):
        self.asked.append(account)
        return [self.version(name) for name in self.functions]

    async def resolve(self, account, name):
        if name not in self.functions:
            raise NotFound
        return self.version(name)

    def version(self, name):
        return SimpleNamespace(name=name, sandbox_key="k", code_sha256=self.functions[name])

    def want(self, event):
        definition = Definition(when={"event": event}, job=f"arn:aws:lambda:r:{MINE}:function:job")
        row = RuleRow(MINE, event, "r", 0.0, 0.0, 0.0, msgspec.json.encode(definition))
        self.index.put(Rule(row, 10.0))

    async def change(self, name, account=MINE):
        self.surroundings.changed(account, name, ())
        await settle()


@pytest.fixture
async def world():
    world = World()
    yield world
    await world.surroundings.close()


async def test_without_a_rule_nothing_is_asked(world):
    await world.surroundings.look()
    await world.change("old")
    assert (world.notices, world.asked) == ([], [])


async def test_the_hosts_numbers_are_told_when_they_change(world):
    world.want("host.changed")
    await world.surroundings.look()
    await world.surroundings.look()
    world.stats = msgspec.structs.replace(
        world.stats, booked_mb=200, destroyed=4, starts={"pool": 6, "cold": 1}
    )
    await world.surroundings.look()
    await world.surroundings.look()
    first, second = world.notices
    assert isinstance(first, HostChanged)
    assert (first.booked_mb, first.idle, first.busy, first.sandboxes) == (100, 1, 2, 3)
    assert (first.started, first.destroyed) == (0, 0)
    assert (second.booked_mb, second.started, second.destroyed, second.failed) == (200, 2, 3, 0)
    assert second.at > 0


async def test_a_finding_is_told_when_it_appears_and_not_again(world):
    world.want("finding.raised")
    await world.surroundings.look()
    assert world.asked == [MINE]
    world.profiles = [SLOW]
    await world.surroundings.look()
    told = list(world.notices)
    assert told
    assert all(isinstance(each, FindingRaised) for each in told)
    assert {each.name for each in told} == {"A"}
    await world.surroundings.look()
    assert world.notices == told
    world.profiles = []
    await world.surroundings.look()
    world.profiles = [SLOW]
    await world.surroundings.look()
    assert len(world.notices) == 2 * len(told)


async def test_what_was_found_before_anybody_asked_is_no_news(world):
    world.profiles = [SLOW]
    world.want("finding.raised")
    await world.surroundings.look()
    await world.surroundings.look()
    assert world.notices == []


async def test_a_store_that_refuses_is_asked_again(world):
    world.want("finding.raised")
    await world.surroundings.look()
    world.fails = True
    await world.surroundings.look()
    world.fails, world.profiles = False, [SLOW]
    await world.surroundings.look()
    assert world.notices


async def test_deployments_are_told_apart(world):
    world.want("function.changed")
    await world.surroundings.look()
    await world.change("old")
    assert world.notices == [], "only its tags were changed"
    world.functions["old"] = "2"
    await world.change("old")
    world.functions["new"] = "1"
    await world.change("new")
    del world.functions["new"]
    await world.change("new")
    await world.change("new")
    await world.change("old", OTHERS)
    told = [(each.name, each.change) for each in world.notices if isinstance(each, FunctionChanged)]
    assert told == [("old", "updated"), ("new", "created"), ("new", "deleted")]
