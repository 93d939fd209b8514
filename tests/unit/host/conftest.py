"""A started agent that must have cleaned up when the test is over."""

from collections.abc import AsyncIterator

import pytest
from tests.unit.host.rig import Rig, finish


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.agent.start()
    yield rig
    await finish(rig)
