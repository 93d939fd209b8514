"""Who has the duties: taken, kept, lost in time, given back; over leases that a test decides about."""

import asyncio

import pytest

from forerun.aio import SystemClock
from forerun.control.duties import Duties
from forerun.errors import StorageFailed
from forerun.storage.leases import Lease

TTL_S = 0.4


async def until(probe, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not probe():
            await asyncio.sleep(0.005)


class Leases:
    """One lease, by the real clock; ``away`` when the database cannot be reached."""

    def __init__(self):
        self.owner, self.fence, self.expires, self.away = "", 0, 0.0, False

    async def take(self, name, owner, ttl_s):
        self._check()
        if self.expires > SystemClock.monotonic():
            return None
        self.owner, self.fence = owner, self.fence + 1
        self.expires = SystemClock.monotonic() + ttl_s
        return Lease(name, owner, self.fence, ttl_s)

    async def renew(self, lease):
        self._check()
        if (self.owner, self.fence) != (lease.owner, lease.fence):
            return False
        self.expires = SystemClock.monotonic() + lease.ttl_s
        return True

    async def release(self, lease):
        self._check()
        if (self.owner, self.fence) == (lease.owner, lease.fence):
            self.owner, self.expires = "", 0.0

    def _check(self):
        if self.away:
            raise StorageFailed("the database is away")


class Work:
    """What begins and ends, written down with the moment."""

    def __init__(self, log, who, *, stuck=False):
        self.log, self.who, self.stuck = log, who, stuck

    async def begin(self):
        self.log.append(("begin", self.who, SystemClock.monotonic()))

    async def end(self, *, lost):
        if self.stuck:
            await asyncio.sleep(60)
        self.log.append(("end", self.who, SystemClock.monotonic()))


@pytest.fixture
def made():
    leases, log, gave_up, all_of_them = Leases(), [], [], []

    def make(who, *, stuck=False):
        duties = Duties(
            leases,
            SystemClock(),
            owner=who,
            ttl_s=TTL_S,
            begin=lambda _: Work(log, who, stuck=stuck),
            give_up=lambda: gave_up.append(who),
        )
        duties.start()
        all_of_them.append(duties)
        return duties

    make.leases, make.log, make.gave_up = leases, log, gave_up
    return make


def steps(log):
    return [(what, who) for what, who, _ in log]


async def test_one_has_them_and_gives_them_back_at_once(made):
    first = made("x")
    await until(lambda: first.held)
    second = made("y")
    await first.close(grace_s=5)
    await until(lambda: second.held)
    await second.close(grace_s=5)
    assert steps(made.log) == [("begin", "x"), ("end", "x"), ("begin", "y"), ("end", "y")]
    assert made.leases.expires == 0.0


async def test_who_cannot_renew_has_ended_before_the_lease_has(made):
    first = made("x")
    await until(lambda: first.held)
    made.leases.away = True
    await until(lambda: ("end", "x") in steps(made.log))
    ended = made.log[-1][2]
    assert ended < made.leases.expires
    assert not first.held
    made.leases.away = False
    await until(lambda: first.held)
    assert first.taken == 2
    await first.close(grace_s=5)


async def test_who_was_overtaken_ends_and_takes_nothing_from_the_other(made):
    first = made("x")
    await until(lambda: first.held)
    # As if it had been paused for long.
    made.leases.owner, made.leases.fence = "z", 99
    made.leases.expires = SystemClock.monotonic() + 60
    await until(lambda: ("end", "x") in steps(made.log))
    await first.close(grace_s=5)
    assert made.leases.owner == "z"


async def test_what_does_not_end_in_time_ends_the_process(made):
    first = made("x", stuck=True)
    await until(lambda: first.held)
    made.leases.away = True
    await until(lambda: made.gave_up)
    assert made.gave_up == ["x"]
    await first.close(grace_s=0)
