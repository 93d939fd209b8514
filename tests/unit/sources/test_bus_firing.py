"""Rules that act by the clock."""

import json
import time
from pathlib import Path

import msgspec
import pytest
from tests.fakes.clock import FakeClock, settle
from tests.unit.sources.bus_world import FUNCTION, OWN, QUEUE, REGION, START, World, world

from forerun.errors import StorageFailed
from forerun.sources.buses import RuleWish

RULE = f"arn:aws:events:{REGION}:{OWN}:rule/tick"


@pytest.fixture
async def here(tmp_path: Path):
    async with world(tmp_path / "messages.db") as made:
        await made.firer.start()
        yield made


async def tick(here: World, schedule: str = "rate(1 minute)", *targets: str) -> None:
    await here.rules.put(OWN, "default", "tick", RuleWish(schedule=schedule))
    given = [{"Id": f"t{n}", "Arn": arn} for n, arn in enumerate(targets or (FUNCTION,))]
    assert await here.rules.put_targets(OWN, "default", "tick", given) == []


async def pass_time(here: World, seconds: float) -> None:
    """Let it pass second by second."""
    for _ in range(int(seconds)):
        await here.clock.advance(1)


async def due(here: World, moment: float, *, last: float | None = None) -> None:
    """Wait until the rule is due then, and was fired for ``last``: the database has threads of its own."""
    deadline = time.monotonic() + 10
    while True:
        found = await here.rules.find(OWN, "default", "tick")
        if (found.due, found.last) == (moment, last):
            return
        assert time.monotonic() < deadline, found
        # What failed is tried again when time goes on.
        await settle()


async def test_a_rate_fires_again_and_again(here):
    await tick(here, "rate(1 minute)", FUNCTION, QUEUE)
    await pass_time(here, 59)
    assert here.sent() == []
    await pass_time(here, 2)
    await due(here, START + 120, last=START + 60)
    first = here.sent()
    assert sorted(message.target for message in first) == sorted([FUNCTION, QUEUE])
    assert json.loads(first[0].payload) == {
        "version": "0",
        "id": first[0].id.partition(":")[0],
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": OWN,
        "time": "2023-11-14T22:14:20Z",
        "region": REGION,
        "resources": [RULE],
        "detail": {},
    }
    assert (first[0].source, first[0].principal) == (RULE, "events.amazonaws.com")
    await pass_time(here, 60)
    await due(here, START + 180, last=START + 120)
    second = here.sent()
    assert len(second) == 2
    assert first[0].id != second[0].id


async def test_a_calendar_fires_in_utc(here):
    await tick(here, "cron(15 22 ? * * *)")
    await due(here, START + 100)
    await pass_time(here, 101)
    await due(here, START + 86_500, last=START + 100)
    [message] = here.sent()
    assert json.loads(message.payload)["time"] == "2023-11-14T22:15:00Z"


async def test_a_disabled_rule_is_silent_and_counts_anew_when_it_is_enabled(here):
    await tick(here)
    await here.rules.set_state(OWN, "default", "tick", "DISABLED")
    await pass_time(here, 90)
    assert here.sent() == []
    await here.rules.set_state(OWN, "default", "tick", "ENABLED")
    await due(here, START + 150)


async def test_a_rule_that_is_put_again_as_it_was_keeps_its_times(here):
    await tick(here)
    await pass_time(here, 30)
    await here.rules.put(
        OWN, "default", "tick", RuleWish(schedule="rate(1 minute)", description="new")
    )
    assert (await here.rules.find(OWN, "default", "tick")).due == START + 60
    await here.rules.put(OWN, "default", "tick", RuleWish(schedule="rate(2 minutes)"))
    assert (await here.rules.find(OWN, "default", "tick")).due == START + 150


async def test_a_deleted_rule_fires_no_more(here):
    await tick(here)
    await here.rules.remove_targets(OWN, "default", "tick", ["t0"])
    await here.rules.delete(OWN, "default", "tick")
    await pass_time(here, 70)
    assert here.sent() == []


async def test_a_rule_without_targets_keeps_counting(here):
    await here.rules.put(OWN, "default", "tick", RuleWish(schedule="rate(1 minute)"))
    await pass_time(here, 65)
    await due(here, START + 120, last=START + 60)
    assert here.sent() == []


async def test_what_could_not_be_handed_over_is_handed_over_again(here):
    await tick(here)
    here.outbox.fails = StorageFailed("full")
    await pass_time(here, 62)
    deadline = time.monotonic() + 10
    while here.firer._timetable.due(1) is None:
        assert time.monotonic() < deadline
        await settle()
        await here.store.rule_by_id(1)
    here.outbox.fails = None
    await pass_time(here, 8)
    await due(here, START + 120, last=START + 60)
    [message] = here.sent()
    assert json.loads(message.payload)["time"] == "2023-11-14T22:14:20Z"


@pytest.mark.databases
async def test_tags_that_change_while_it_fires_do_not_fire_it_twice(here):
    await tick(here)
    found = await here.rules.find(OWN, "default", "tick")
    here.clock.jump(61)
    await here.rules.tag(OWN, "default", "tick", {"k": "v"})
    assert await here.firer._settle(found, START + 120, START + 60, START + 61) == START + 120
    changed = await here.rules.find(OWN, "default", "tick")
    assert (changed.due, changed.config.tags) == (START + 120, {"k": "v"})


async def test_of_what_passed_while_the_server_was_down_the_latest_moment_fires_once(tmp_path):
    path = tmp_path / "messages.db"
    async with world(path) as before:
        await tick(before)
        await due(before, START + 60)
    later = FakeClock(START + 3 * 3600 + 10)
    async with world(path, later) as here:
        await here.firer.start()
        await pass_time(here, 2)
        await due(here, START + 3 * 3600 + 60, last=START + 3 * 3600)
        [message] = here.sent()
        assert json.loads(message.payload)["time"] == "2023-11-15T01:13:20Z"


@pytest.mark.databases
async def test_a_server_that_dies_after_it_handed_over_hands_over_the_same_message(tmp_path):
    path = tmp_path / "messages.db"
    async with world(path) as before:
        await tick(before)
        await before.firer.start()
        rule = await before.rules.find(OWN, "default", "tick")
        before.clock.jump(61)
        await pass_time(before, 2)
        await due(before, START + 120, last=START + 60)
        [first] = before.sent()
        # As if the end had come before it was written down.
        fired = await before.rules.find(OWN, "default", "tick")
        await before.store.save_rule(msgspec.structs.replace(fired, due=rule.due, last=None))
    async with world(path, FakeClock(START + 70)) as here:
        await here.firer.start()
        await pass_time(here, 2)
        await due(here, START + 120, last=START + 60)
        [second] = here.sent()
    assert second.id == first.id
    assert second.payload == first.payload


@pytest.mark.databases
async def test_what_comes_is_shown(here):
    await tick(here, "rate(1 hour)", QUEUE)
    await here.rules.put(
        OWN, "default", "off", RuleWish(schedule="cron(0 12 * * ? *)", state="DISABLED")
    )
    off, on = await here.firer.firings(OWN)
    assert (off["Name"], off["State"], off["Next"]) == ("off", "DISABLED", [])
    assert (on["Kind"], on["Group"], on["Arn"]) == ("rule", "default", RULE)
    assert (on["Expression"], on["Timezone"], on["Targets"]) == ("rate(1 hour)", "UTC", [QUEUE])
    assert on["Next"] == [START + 3600 * n for n in range(1, 6)]
    assert (on["Late"], on["Last"]) == (False, None)
    assert await here.firer.firings("2" * 12) == []
