"""What rules remember over a restart, whenever the server was killed and whatever the clock did."""

import pytest
from tests.unit.control.watching import (
    ABSENT,
    ENDED,
    ERRORS,
    OTHERS,
    STARTED,
    again,
)

from forerun.errors import StorageFailed
from forerun.storage.db import Statement


async def test_an_absence_that_fell_due_meanwhile_fires_once_at_the_start(place):
    await place.put("dead", ABSENT)
    await place.starts()
    await place.advance(1)
    await place.kill()
    place.clock.jump(100)
    await place.begin()
    assert place.jobs() == ["dead"]
    await again(place)
    await place.advance(20, step=5)
    assert place.jobs() == ["dead"]
    await place.starts()
    await place.advance(6)
    assert place.jobs() == ["dead", "dead"]


async def test_what_was_seen_last_is_written_within_a_tenth_of_a_second(place):
    await place.put("dead", ABSENT)
    await place.advance(4)
    await place.starts()
    await place.advance(0.1)
    await again(place)
    await place.advance(4.5)
    assert place.jobs() == []
    await place.advance(0.5)
    assert place.jobs() == ["dead"]


async def test_an_execution_that_was_not_written_down_is_found_in_its_record(place):
    await place.put("dead", ABSENT)
    await place.advance(4)
    await place.kill()
    await place.invocations.append([place.record()])
    place.clock.jump(4)
    await place.begin()
    assert place.jobs() == []
    await place.advance(1.25)
    assert place.jobs() == ["dead"]


@pytest.mark.parametrize(
    ("leaf", "fired"),
    [
        (STARTED, True),
        (ENDED, True),
        ({**ENDED, "where": "event.status == 'success'"}, True),
        ({"event": "execution.started"}, False),
        ({**ENDED, "where": "event.output.contains('a')"}, True),
        ({"event": "execution.throttled", "function": "f"}, False),
    ],
    ids=["started", "ended", "succeeded", "any function", "answered", "throttled"],
)
async def test_records_of_what_was_no_such_execution_change_nothing(place, leaf, fired):
    await place.put("dead", {"absent": leaf, "within": 5})
    await place.kill()
    place.clock.jump(4)
    await place.invocations.append(
        [place.record("g"), place.record("f", account=OTHERS), place.record(status="throttled")]
    )
    if leaf.get("where") == "event.status == 'success'":
        await place.invocations.append([place.record(status="error")])
    place.clock.jump(2)
    await place.begin()
    assert (place.jobs() == ["dead"]) is fired


async def test_windows_and_evaluations_survive_a_second_later(place):
    await place.put("errors", ERRORS)
    for _ in range(2):
        await place.ends(status="error")
    await place.advance(1.5)
    await again(place)
    await place.ends(status="error")
    assert place.jobs() == ["errors"]
    assert place.memory("errors").evaluations[0].times == 2


async def test_a_server_that_stops_writes_all(place):
    await place.put("errors", ERRORS)
    for _ in range(2):
        await place.ends(status="error")
    await place.stop()
    await place.begin()
    await place.ends(status="error")
    assert place.jobs() == ["errors"]


async def test_a_job_that_was_sent_but_not_remembered_is_sent_under_the_same_id(place):
    await place.put("dead", ABSENT)
    await place.starts()
    await place.advance(0.5)

    async def fail(*_args, **_more):
        raise StorageFailed("no")

    remember, place.store.remember = place.store.remember, fail
    await place.advance(6)
    assert place.notebook.failed
    await again(place)
    assert place.store.remember != remember
    first, second = place.outbox.sent
    assert (first.id, first.source) == (second.id, second.source)


async def test_a_clock_that_is_set_back_delays_no_absence(place):
    await place.put("dead", ABSENT)
    await place.starts()
    place.clock._epoch -= 10_000
    await place.advance(7)
    assert place.jobs() == ["dead"]


async def test_a_clock_that_jumps_ahead_fires_at_once(place):
    await place.put("dead", ABSENT)
    await place.starts()
    place.clock._epoch += 10_000
    await place.advance(1.25)
    assert place.jobs() == ["dead"]


@pytest.mark.databases
async def test_a_rule_that_cannot_be_read_any_more_rests_alone(place):
    await place.put("a", ABSENT)
    await place.put("b", ABSENT)
    await place.kill()
    await place.db.write(
        Statement("UPDATE metaevents SET definition = $1 WHERE name = 'a'", (b"{}",)),
        Statement("UPDATE metaevent_memories SET memory = $1", (b"\xc1",)),
    )
    await place.begin()
    await place.advance(6)
    assert place.jobs() == ["b"]
