"""The engine's fleet beside a control plane, when the database is not there."""

from types import SimpleNamespace

import pytest
from tests.agents import eventually

from forerun.aio import SystemClock
from forerun.cluster import RayFleet
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
