"""A fleet of pretended hosts, and short ways to use it."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.fakes.clock import FakeClock
from tests.fakes.hosts import FakeHost, FakeLimits, FakeLinks, call, spec

from forerun.control.fleet.router import FleetHost
from forerun.host import Run
from forerun.model import START_MS, ChannelQuality, Habits, Likely, SandboxSpec, Timings
from forerun.settings import ClusterSettings, HostSettings


class FakeServices:
    """Implements ``Services``: by function."""

    def __init__(
        self, services: Mapping[str, Sequence[Likely]], starts_ms: Mapping[str, float]
    ) -> None:
        self._services = services
        self._starts_ms = starts_ms

    def habits(self, spec: SandboxSpec) -> Habits:
        return Habits(
            services=tuple(self._services.get(spec.name, ())),
            start_ms=self._starts_ms.get(spec.name, START_MS),
        )


class Fleet:
    """A ``FleetHost`` over hosts that were heard once."""

    def __init__(
        self,
        *hosts: FakeHost,
        services: Mapping[str, Sequence[Likely]] | None = None,
        starts_ms: Mapping[str, float] | None = None,
        limits: FakeLimits | None = None,
        wait_s: float = 2.0,
        waiting_calls: int = 100,
    ) -> None:
        self.clock = FakeClock()
        self.links = FakeLinks(*hosts)
        self.numbers = itertools.count()
        self.host = FleetHost(
            self.links,
            clock=self.clock,
            settings=ClusterSettings(),
            waiting=HostSettings(wait_s=wait_s, waiting_calls=waiting_calls),
            limits=limits,
            services=FakeServices(services or {}, starts_ms or {}),
            chance=random.Random(7).random,
        )
        self.host.start()
        self.links.beat()

    async def run(self, name: str = "f", **about) -> Run:
        reserved = about.pop("reserved", None)
        request = about.pop("request", None) or f"r{next(self.numbers)}"
        return await self.host.run(spec(name, **about), call(request, reserved), Timings())

    def begin(self, name: str = "f", **about) -> "asyncio.Task[Run]":
        return asyncio.get_running_loop().create_task(self.run(name, **about))

    async def pass_s(self, seconds: float, *, every_s: float = 0.5) -> None:
        """Time passes, and hosts say how they are."""
        for _ in range(round(seconds / every_s)):
            await self.clock.advance(every_s)
            self.links.beat()

    async def where(self, count: int, name: str = "f", **about) -> Counter[str]:
        """How many of so many calls, one after another, run on which host."""
        counts: Counter[str] = Counter()
        for _ in range(count):
            counts[(await self.run(name, **about)).host] += 1
        return counts


def near(latency_ms: float) -> ChannelQuality:
    return ChannelQuality(latency_ms=latency_ms, samples=50)
