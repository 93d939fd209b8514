"""A control plane whose machine's clock is wrong has its database's time."""

import time

import pytest
from tests.fakes.clock import FakeClock

from forerun.aio import SystemClock
from forerun.control.cluster_time import EVERY_S, ClusterTime
from forerun.errors import StorageFailed
from forerun.storage.postgresql import open_postgresql


class Database:
    """Answers with its own time, late; or not at all."""

    def __init__(self, machine, ahead):
        self.machine = machine
        self.ahead = ahead
        self.trips = [0.4, 0.02, 0.3, 0.3, 0.3]
        self.away = False

    async def fetch(self, _sql):
        if self.away:
            raise StorageFailed("The database cannot be reached.")
        trip = self.trips[0]
        self.trips.append(self.trips.pop(0))
        # All of the way there, and none back.
        self.machine.jump(trip)
        return [(self.machine.now() + self.ahead,)]


async def test_it_is_right_from_the_start_by_the_shortest_way():
    machine = FakeClock()
    time_ = ClusterTime(Database(machine, ahead=-100.0), machine)
    await time_.start()
    assert time_.clock.now() == pytest.approx(machine.now() - 100, abs=0.011)
    await time_.close()


async def test_it_follows_a_database_that_is_another_one_now_and_outlives_its_absence(caplog):
    machine = FakeClock()
    database = Database(machine, ahead=0.0)
    time_ = ClusterTime(database, machine)
    await time_.start()
    database.away = True
    await machine.advance(EVERY_S + 1)
    assert "cannot be asked" in caplog.text
    database.away, database.ahead = False, 60.0
    await machine.advance(EVERY_S + 1)
    assert time_.clock.now() == pytest.approx(machine.now() + 60, abs=0.05)
    await time_.close()


async def test_a_database_that_is_away_at_the_start_is_said():
    machine = FakeClock()
    database = Database(machine, ahead=0.0)
    database.away = True
    with pytest.raises(StorageFailed):
        await ClusterTime(database, machine).start()


class Late(SystemClock):
    """A machine that is an hour behind."""

    def now(self):
        return time.time() - 3600


async def test_the_time_of_a_real_database_is_understood(postgres_url):
    db = await open_postgresql(postgres_url)
    time_ = ClusterTime(db, Late())
    await time_.start()
    assert time_.clock.now() == pytest.approx(time.time(), abs=1)
    await time_.close()
    await db.close()
