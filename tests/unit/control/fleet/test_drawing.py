"""Limits follow the paths: who has no share of an account gets one where its calls would be better off, and keeps it."""

import asyncio
import itertools
import random
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.fakes.clock import FakeClock, settle
from tests.fakes.hosts import FakeHost, FakeLinks, call, spec
from tests.unit.control.fleet.fleeting import FakeServices, near

from forerun.control.fleet.limits import FleetLimits
from forerun.control.fleet.router import FleetHost
from forerun.control.fleet.shrinking import Shrinking
from forerun.model import Likely, Timings
from forerun.settings import ClusterSettings, HostSettings
from forerun.storage import open_sqlite
from forerun.storage.shares import ShareStore

SURE = [Likely(service="s:80", likelihood=0.99, executions=500)]
RARE = [Likely(service="s:80", likelihood=0.05, executions=500)]
SETTINGS = ClusterSettings(share=10)
ACCOUNT = "1" * 12


class Told(FakeHost):
    """Says in its beats what it is told to."""

    runs = 0

    def beat(self):
        return msgspec.structs.replace(super().beat(), running={ACCOUNT: self.runs})


class Near:
    """Two hosts, of which the one that the ring gives the first share is 50 ms further from a service."""

    def __init__(self, db, services, *, most):
        self.clock = FakeClock()
        self.store = ShareStore(db, limit=most)
        self.hosts = {name: Told(name, memory_mb=4096) for name in ("one", "other")}
        self.links = FakeLinks(*self.hosts.values())
        self.limits = FleetLimits(self.store, self.links, self.clock, SETTINGS)
        self.shrinking = Shrinking(self.store, self.limits, self.clock, SETTINGS)
        self.fleet = FleetHost(
            self.links,
            clock=self.clock,
            settings=SETTINGS,
            waiting=HostSettings(wait_s=2.0),
            limits=self.limits,
            services=FakeServices({"f": services}, {}),
            chance=random.Random(7).random,
        )
        self.fleet.on_beat = self.limits.heard
        self.numbers = itertools.count()

    async def call(self):
        return (await self.fleet.run(spec("f"), call(f"r{next(self.numbers)}"), Timings())).host

    async def set_out(self):
        """The first call is wherever the ring says; from then on the other host is near."""
        await self.limits.start()
        self.fleet.start()
        self.links.beat()
        far = await self.call()
        [better] = self.hosts.keys() - {far}
        self.hosts[far].channels["s:80"] = near(51.0)
        self.hosts[better].channels["s:80"] = near(1.0)
        return far, better

    async def pass_s(self, seconds):
        for _ in range(seconds):
            await self.clock.advance(1.0)
            self.links.beat()
            await settle(2)

    async def until_on(self, host):
        async with asyncio.timeout(20):
            while await self.call() != host:
                await self.pass_s(1)
                await asyncio.sleep(0.001)

    async def held(self):
        book = await self.store.book(ACCOUNT, "")
        return {each.host for each in book.held if each.amount}


@asynccontextmanager
async def between(tmp_path, services, most=40):
    db = await open_sqlite(tmp_path / "forerun.db")
    found = Near(db, services, most=most)
    try:
        yield found
    finally:
        await found.limits.close()
        await found.fleet.close()
        await db.close()


async def test_a_better_host_gets_a_share_and_keeps_it_when_limits_shrink(tmp_path):
    async with between(tmp_path, SURE) as two:
        far, better = await two.set_out()
        await two.pass_s(1)
        await two.until_on(better)
        assert await two.held() == {far, better}
        two.hosts[better].runs = 1
        await two.pass_s(1)
        two.shrinking.sample()
        await two.shrinking.shrink()
        assert await two.held() == {better}


@pytest.mark.parametrize(
    ("services", "most"), [(RARE, 40), ([], 40), (SURE, 10)], ids=["rarely", "never", "no room"]
)
async def test_else_shares_stay_where_they_are(tmp_path, services, most):
    async with between(tmp_path, services, most=most) as two:
        far, _ = await two.set_out()
        for _ in range(8):
            await two.pass_s(1)
            assert await two.call() == far
        assert await two.held() == {far}


async def test_a_host_with_less_to_do_gets_a_share(tmp_path):
    """Two processors of one host are full of calls, and the limit of the account is far."""
    async with between(tmp_path, []) as two:
        far, better = await two.set_out()
        two.hosts[far].busy = 12
        await two.pass_s(1)
        await two.until_on(better)
        assert await two.held() == {far, better}
