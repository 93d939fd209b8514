"""Calls on their way to many hosts, with real limits: refused calls wait for nothing but the next step, and only what is above the maximum is throttled."""

import asyncio
import itertools
import random
from collections import Counter
from contextlib import suppress

import msgspec
import pytest
from tests.fakes.clock import FakeClock, settle
from tests.fakes.hosts import FakeHost, FakeLinks, call, spec

from forerun.cluster import SHARE, Shares
from forerun.control.fleet.limits import FleetLimits
from forerun.control.fleet.router import FleetHost
from forerun.errors import HostLost, Throttled
from forerun.model import Timings
from forerun.settings import ClusterSettings, HostSettings
from forerun.storage import open_sqlite
from forerun.storage.shares import ShareStore

SETTINGS = ClusterSettings(share=10)


class CountingHost(FakeHost):
    """Counts by the shares that it is told of, as an agent does."""

    def __init__(self, name):
        super().__init__(name, memory_mb=100_000)
        self.kept = Shares()
        self.gates["*"] = asyncio.Event()

    def beat(self):
        return msgspec.structs.replace(super().beat(), running=self.kept.running())

    async def run(self, spec, call, timings):
        if self.failing is None and not self.kept.take(call.share):
            self.refused += 1
            raise Throttled("as much as it may", reason=SHARE)
        share, call.share = call.share, None
        try:
            return await super().run(spec, call, timings)
        finally:
            call.share = share
            self.kept.give_back(share.key)

    async def keep_to(self, shares):
        return self.kept.keep_to(shares)


class Limited:
    """A way to hosts whose calls go on until they are let go."""

    def __init__(self, db, hosts):
        self.clock = FakeClock()
        self.hosts = {name: CountingHost(name) for name in hosts}
        self.links = FakeLinks(*self.hosts.values())
        self.limits = FleetLimits(ShareStore(db, limit=40), self.links, self.clock, SETTINGS)
        self.fleet = FleetHost(
            self.links,
            clock=self.clock,
            settings=SETTINGS,
            waiting=HostSettings(wait_s=2.0),
            limits=self.limits,
            chance=random.Random(7).random,
        )
        self.numbers = itertools.count()
        self.tasks = []

    async def start(self):
        self.fleet.on_beat = self.limits.heard
        await self.limits.start()
        self.fleet.start()
        self.links.beat()

    async def close(self):
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task
        await self.limits.close()
        await self.fleet.close()

    def begin(self, count):
        requests = [call(f"r{next(self.numbers)}") for _ in range(count)]
        begun = [
            asyncio.get_running_loop().create_task(self.fleet.run(spec("f"), each, Timings()))
            for each in requests
        ]
        self.tasks += begun
        return begun

    def running(self):
        return Counter({name: host.busy for name, host in self.hosts.items() if host.busy})

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():
                await settle(2)
                await asyncio.sleep(0.001)


@pytest.fixture
async def limited(tmp_path):
    db = await open_sqlite(tmp_path / "forerun.db")
    fleet = Limited(db, "abcdef")
    await fleet.start()
    yield fleet
    await fleet.close()
    await db.close()


async def test_a_burst_rises_in_steps_and_only_what_is_above_the_maximum_is_throttled(limited):
    begun = limited.begin(35)
    await limited.until(lambda: limited.running().total() == 35)
    assert len(limited.running()) == 4
    assert not any(task.done() for task in begun)
    limited.begin(5)
    await limited.until(lambda: limited.running().total() == 40)
    [last] = limited.begin(1)
    with pytest.raises(Throttled, match="maximum 40") as refused:
        await last
    assert refused.value.reason == "ConcurrentInvocationLimitExceeded"
    for host in limited.hosts.values():
        host.gates["*"].set()
    await asyncio.gather(*begun)


async def test_calls_that_come_one_by_one_use_a_step_before_the_next(limited):
    used = []
    for _ in range(25):
        limited.begin(1)
        await limited.until(lambda: limited.running().total() == len(limited.tasks))
        used.append(len(limited.running()))
    assert used == [1] * 10 + [2] * 10 + [3] * 5


async def test_when_a_host_dies_calls_that_were_on_their_way_run_on_others(limited):
    limited.begin(20)
    await limited.until(lambda: limited.running().total() == 20)
    [dead, *_] = limited.running()
    begun = limited.begin(10)
    limited.links.lose(dead, error=HostLost("gone"))
    await limited.until(lambda: limited.running().total() == 20 and not limited.running()[dead])
    assert not any(task.done() for task in begun)


async def test_waiting_for_room_gives_nobody_more_of_the_limit(limited):
    for name, host in limited.hosts.items():
        memory_mb = 9000 if name == "a" else 1000
        host.info = msgspec.structs.replace(host.info, memory_mb=memory_mb)
    limited.links.beat()
    large = spec("large", memory_mb=8000)
    begin = [
        asyncio.get_running_loop().create_task(
            limited.fleet.run(large, call(f"l{number}"), Timings())
        )
        for number in range(2)
    ]
    limited.tasks += begin
    await limited.until(lambda: limited.running() == {"a": 1})
    for _ in range(8):
        await limited.clock.advance(0.5)
        limited.links.beat()
        await settle(5)
    [client] = await limited.limits.list(large.account)
    assert [(part.host, part.limit) for part in client.hosts if part.limit] == [("a", 10)]
