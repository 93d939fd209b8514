"""Deferrable events over a day: those submitted at peak run in the cheap hours, those that cannot wait for them earlier."""

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.fakes.functions import ACCOUNT, make_function

from forerun.control.deferring import Deferring, Surroundings, patience_s
from forerun.control.registry import Resolved
from forerun.errors import InvalidInput
from forerun.model import EventInvokeConfig
from forerun.scheduling import Admission, Deferral, due_at
from forerun.storage import EventQueue, QueuedEvent

DAY = 1_700_006_400.0  # a midnight
HOUR = 3600.0
PEAK, QUIET = 6000.0, 600.0


def usual(hour: int) -> float:
    return PEAK if 8 <= hour % 24 < 20 else QUIET


class Day:
    """A machine with a busy day behind it, and half of its memory in use when ``busy``."""

    def __init__(self, db):
        self.clock = FakeClock(DAY)
        self.queue = EventQueue(db)
        self.booked_mb = 0
        self.load = 0.0
        self.asked = 0
        self.admission = Admission()
        self.deferring = Deferring(
            queue=self.queue,
            admission=self.admission,
            deferral=Deferral(idle_percent=50, at_once=3),
            around=Surroundings(
                memory=lambda: (8192, self.booked_mb), load=lambda: self.load, loads=self.loads
            ),
            clock=self.clock,
            lease_s=60,
        )

    async def loads(self):
        self.asked += 1
        return [(DAY - (24 - hour) * HOUR, usual(hour)) for hour in range(24)]

    async def submit(self, name: str, at: float, patience: float, account: str = ACCOUNT):
        await self.queue.put(
            QueuedEvent(
                id=name,
                account=account,
                name="f",
                payload=b"{}",
                accepted_at=at,
                due_at=due_at(at, patience),
                latest_start=at + patience,
            )
        )

    async def at(self, hour: float) -> list[str]:
        """What is taken then, under the load that is usual then."""
        self.clock.jump(DAY + hour * HOUR - self.clock.now())
        self.load = usual(int(hour))
        return [event.id for event in await self.deferring.look()]


@pytest.fixture
async def day(tmp_path):
    db = await open_database(tmp_path / "db")
    yield Day(db)
    await db.close()


async def test_what_is_submitted_at_peak_runs_in_the_cheap_window(day):
    await day.submit("patient", DAY + 15 * HOUR, 6 * HOUR)
    await day.submit("hasty", DAY + 15 * HOUR, 4 * HOUR)
    assert await day.at(15.0) == ["hasty"]
    status = day.deferring.status()
    assert (status["waiting"], status["held_by"]) == (1, "the hour from 20:00 UTC is cheaper")
    assert await day.at(19.9) == []
    assert await day.at(20.0) == ["patient"]
    assert day.asked == 2


async def test_a_busy_moment_is_waited_out_and_so_is_a_full_machine(day):
    await day.submit("a", DAY + 9 * HOUR, 3 * HOUR)
    day.booked_mb = 4097
    assert await day.at(9.0) == []
    day.booked_mb = 0
    assert await day.at(9.1) == ["a"]
    await day.submit("b", DAY + 9.1 * HOUR, 3 * HOUR)
    day.load = 1.26 * PEAK
    assert await day.deferring.look() == []
    assert "more than the 6000 usual" in str(day.deferring.status()["held_by"])


async def test_no_more_than_some_run_at_once_and_a_refusal_pauses(day):
    for number in range(5):
        await day.submit(f"e{number}", DAY, 600.0 + number)
    assert await day.at(0.0) == ["e0", "e1", "e2"]
    assert await day.at(0.001) == []
    day.deferring.ended("e1")
    day.deferring.refused()
    assert await day.at(0.0011) == []
    assert await day.at(0.002) == ["e3"]
    day.deferring.stop()
    day.deferring.ended("e2")
    assert await day.at(0.01) == []


async def test_an_account_without_concurrency_to_spare_does_not_hold_others_up(day):
    other = "2" * 12
    day.admission.set_limit(ACCOUNT, 1)
    lease = day.admission.admit(ACCOUNT, "f")
    await day.submit("mine", DAY, 300.0)
    await day.submit("theirs", DAY, 600.0, account=other)
    assert await day.at(0.0) == ["theirs"]
    lease.release()
    assert await day.at(0.01) == ["mine"]


@pytest.mark.databases
async def test_many_accounts_take_turns(day):
    for number in range(250):
        await day.submit(f"e{number}", DAY, 600.0, account=f"{number:012d}")
    taken = set()
    for turn in range(100):
        found = await day.at(turn / 3600)
        taken.update(found)
        for name in found:
            day.deferring.ended(name)
    assert len(taken) == 250


def resolved(deferrable_s=0, max_age_s=None):
    config = EventInvokeConfig(max_age_s=max_age_s) if max_age_s else None
    return Resolved(
        function=make_function(),
        qualifier=None,
        invoked_arn="arn",
        deferrable_s=deferrable_s,
        event_config=config,
    )


@pytest.mark.parametrize(
    ("tag", "max_age_s", "asked", "patience"),
    [
        (0, None, None, 0.0),
        (600, None, None, 600.0),
        (600, 60, None, 60.0),
        (600, None, "0", 0.0),
        (0, None, "21600", 21_600.0),
        (0, 60, "60", 60.0),
        (0, None, "1.5", 1.5),
    ],
)
def test_how_long_an_event_may_wait(tag, max_age_s, asked, patience):
    assert patience_s(resolved(tag, max_age_s), asked) == patience


@pytest.mark.parametrize("asked", ["", "-1", "61", "1e1", "inf", "nan", "٣", " 5", "5s", "9" * 999])
def test_what_is_no_patience(asked):
    with pytest.raises(InvalidInput, match=r"X-Forerun-Latest-Start-S .* from 0 to 60 "):
        patience_s(resolved(max_age_s=60), asked)
