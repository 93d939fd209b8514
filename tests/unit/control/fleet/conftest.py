"""Fleets that end with their test."""

from collections.abc import AsyncIterator, Callable

import pytest
from tests.fakes.hosts import FakeHost
from tests.unit.control.fleet.fleeting import Fleet


@pytest.fixture
async def fleet_of() -> AsyncIterator[Callable[..., Fleet]]:
    fleets: list[Fleet] = []

    def make(*hosts: FakeHost, **about) -> Fleet:
        fleets.append(Fleet(*hosts, **about))
        return fleets[-1]

    yield make
    for fleet in fleets:
        await fleet.host.close()
