"""The engine's fleet beside a control plane when the database is not there, and the engine's node when it ends."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from tests.agents import eventually
from tests.fakes.clock import FakeClock

from forerun.aio import SystemClock
from forerun.cluster import NodeKeeper, RayFleet
from forerun.cluster.engine.attaching import LOOK_S, STEADY_S
from forerun.errors import StorageFailed
from forerun.settings import ClusterSettings

pytest.importorskip("ray")


async def test_where_the_engine_is_is_asked_again_when_the_database_was_away():
    asked = 0

    async def locate() -> str:
        nonlocal asked
        asked += 1
        raise StorageFailed("The database is away.")

    async def moved(_: str) -> None: ...

    node = SimpleNamespace(
        node=SimpleNamespace(name="a", ip="127.0.0.1", foreign=False),
        directory="/nowhere",
        agent_data=None,
        port=1,
        secret="s",
        prepare=lambda: None,
    )
    fleet = RayFleet(ClusterSettings(), node, SystemClock(), locate=locate, moved=moved)  # type: ignore[arg-type]
    await fleet.start(lambda _: None)
    await eventually(lambda: asked >= 2)
    assert fleet.failure == "The database is away."
    await fleet.close()


class Node:
    """The engine's node of a machine, by hand."""

    name, ip, foreign = "a", "10.0.0.1", False

    def __init__(self):
        self.runs = None
        self.started = []

    def find(self):
        return self.runs

    def head(self):
        return self.started[-1] if self.started else ""

    async def start_node(self, head):
        self.started.append(head)
        self.runs = SimpleNamespace(alive=True)
        return self.runs

    def dies(self):
        self.runs.alive = False
        self.runs = None

    def last_words(self):
        return "gone"


@contextmanager
def kept(head, *, foreign=False):
    node, clock = Node(), FakeClock()
    node.foreign = foreign
    here = SimpleNamespace(node=node, port=9702, prepare=lambda: None)

    async def locate():
        return head

    yield NodeKeeper(here, clock, locate), node, clock  # type: ignore[arg-type]


@pytest.mark.parametrize("lived_s", [STEADY_S + 1, LOOK_S], ids=["long", "shortly"])
async def test_a_node_that_ends_is_soon_started_again(lived_s):
    with kept("10.0.0.2:6379") as (keeper, node, clock):
        await keeper.start()
        await clock.advance(lived_s)
        assert len(node.started) == 1
        node.dies()
        await clock.advance(1.0)
        assert len(node.started) == 2
        await keeper.close()


async def test_a_node_that_never_lasts_is_started_later_and_later():
    with kept("10.0.0.2:6379") as (keeper, node, clock):
        await keeper.start()
        for _ in range(400):
            if node.runs is not None:
                node.dies()
            await clock.advance(0.25)
        assert 4 <= len(node.started) <= 10
        await keeper.close()


@pytest.mark.parametrize("foreign", [False, True], ids=["its own", "there before"])
async def test_beside_its_own_head_no_node_is_started(foreign):
    with kept("10.0.0.1:9702", foreign=foreign) as (keeper, node, clock):
        await keeper.start()
        await clock.advance(LOOK_S)
        assert len(node.started) == foreign
        await keeper.close()
