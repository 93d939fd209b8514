"""Rules at work: what runs a job, what refuses one, and what is remembered over a restart."""

import json

import pytest
from tests.unit.control.watching import ABSENT, ENDED, ERRORS, MINE, OTHERS, again

from forerun.control.delivery.undeliverable import message_key
from forerun.control.metaevents import detail
from forerun.errors import Conflict, NotFound, StorageFailed
from forerun.events import HostChanged


async def test_an_absence_fires_once_and_again_after_the_event(place):
    await place.put("dead", ABSENT)
    await place.advance(4)
    await place.starts()
    await place.advance(4.75)
    assert place.jobs() == []
    await place.advance(0.5)
    assert place.jobs() == ["dead"]
    await place.advance(60)
    assert place.jobs() == ["dead"]
    await place.starts()
    await place.advance(6)
    assert place.jobs() == ["dead", "dead"]


@pytest.mark.databases
async def test_the_message_is_the_rules_and_tells_what_held(place):
    await place.put("dead", ABSENT, job="job:live")
    await place.starts()
    seen = place.clock.now()
    await place.advance(6)
    [message] = place.outbox.sent
    assert message.source == f"arn:aws:forerun:us-home-1:{MINE}:metaevent/dead"
    assert (message.account, message.principal) == (MINE, "metaevents.forerun")
    assert message.target == f"arn:aws:lambda:us-home-1:{MINE}:function:job:live"
    told = json.loads(message.payload)
    assert told["metaevent"] == "dead"
    assert told["id"] == message.id
    assert told["criteria"] == [
        {
            "path": "When",
            "says": "no (execution.started of f) within 5 s",
            "held": True,
            "value": pytest.approx(5.0, abs=0.3),
        }
    ]
    assert (told["event"], told["chain"]) == (None, ["dead"])
    assert told["lastExecution"]["function"] == "f"
    assert told["window"]["from"] == told["lastExecution"]["at"]
    assert seen + 5 <= message.occurred_at < seen + 5.5


@pytest.mark.parametrize(
    ("given", "payload"),
    [
        ({"Input": {"a": [1, None]}}, b'{"a":[1,null]}'),
        ({"Input": None}, b"null"),
        (
            {
                "InputTransformer": {
                    "InputPathsMap": {"n": "$.metaevent", "f": "$.event.function"},
                    "InputTemplate": '{"rule": <n>, "text": "of <f>"}',
                }
            },
            b'{"rule": "each", "text": "of f"}',
        ),
    ],
    ids=["constant", "null", "template"],
)
async def test_what_the_job_is_given(place, given, payload):
    await place.put("each", ENDED, **given)
    await place.ends()
    [message] = place.outbox.sent
    assert message.payload == payload


@pytest.mark.databases
async def test_only_the_own_accounts_events_count(place):
    await place.put("mine", ENDED)
    await place.put("theirs", ENDED, account=OTHERS)
    await place.ends(account=OTHERS)
    assert [each.account for each in place.outbox.sent] == [OTHERS]
    assert [rule.row.name for rule in place.metaevents.list(MINE)] == ["mine"]
    with pytest.raises(NotFound):
        place.metaevents.get(MINE, "theirs")
    with pytest.raises(NotFound):
        await place.metaevents.delete(OTHERS, "mine")


async def test_the_host_is_everybodys(place):
    full = {"event": "host.changed", "where": "event.booked_percent >= 90"}
    await place.put("full", full)
    await place.put("full", full, account=OTHERS)
    numbers = dict.fromkeys(
        ("sandboxes", "idle", "busy", "pooled", "waiting", "started", "destroyed", "failed"), 1
    )
    for booked in (80, 95):
        place.bus.note(HostChanged(host="h", memory_mb=100, booked_mb=booked, at=1.0, **numbers))
    await place.quiet()
    assert sorted(each.account for each in place.outbox.sent) == [MINE, OTHERS]


async def test_windows_fire_once_until_they_have_fallen(place):
    await place.put("errors", ERRORS)
    for status in ("error", "success", "error", "error", "error"):
        await place.ends(status=status)
    assert place.jobs() == ["errors"]
    await place.advance(70, step=5)
    for _ in range(3):
        await place.ends(status="error")
    assert place.jobs() == ["errors", "errors"]


async def test_a_cooldown(place):
    await place.put("each", ENDED, Cooldown="10s")
    for _ in range(4):
        await place.ends()
        await place.advance(4, step=1)
    assert place.jobs() == ["each", "each"]
    refused = [each.refused for each in place.memory("each").evaluations if each.refused]
    assert len(refused) == 2
    assert "cooldown" in refused[0]


# Chains


@pytest.mark.databases
async def test_a_cascade_carries_its_chain_and_its_cause(place):
    await place.put("one", ABSENT, job="alarm")
    await place.put(
        "two", {**ENDED, "function": "alarm", "where": "event.output.contains('X')"}, job="page"
    )
    await place.starts()
    await place.advance(6)
    [first] = place.outbox.sent
    await place.ends("alarm", request_id=message_key(first), output=b'{"a": "no"}')
    assert place.jobs() == ["one"]
    await place.ends("alarm", request_id=message_key(first), output=b'{"a": "X"}')
    second = place.jobs("two")[0]
    assert json.loads(second.payload)["chain"] == ["one", "two"]
    assert json.loads(second.payload)["event"]["output"] == '{"a": "X"}'
    assert second.origin.trace_id


async def test_what_the_jobs_run_causes_is_of_the_chain(place):
    await place.put("one", ABSENT, job="alarm")
    await place.put("two", {**ENDED, "function": "called"}, job="page")
    await place.advance(6)
    [first] = place.outbox.sent
    span = await place.starts("alarm", request_id=message_key(first))
    await place.ends("called", cause=span)
    await place.ends("called", cause="f" * 16)
    chains = [json.loads(each.payload)["chain"] for each in place.jobs("two")]
    assert chains == [["one", "two"], ["two"]]


async def test_a_loop_of_metaevents_ends(place):
    await place.kill()
    await place.begin(max_depth=3, rule_per_minute=100)
    await place.put("loop", {**ENDED, "function": "job"})
    await place.ends("job")
    for _ in range(6):
        await place.ends("job", request_id=message_key(place.outbox.sent[-1]))
    assert len(place.outbox.sent) == 3
    memory = place.memory("loop")
    assert (memory.fired, memory.refused) == (3, 4)
    assert "more than 3 metaevents: loop / loop / loop" in memory.evaluations[-1].refused
    why = detail(place.metaevents.get(MINE, "loop"), place.clock.now())["Why"]
    assert "no job was run: its chain would have more than 3" in why[-1]


async def test_metaevents_are_events_too(place):
    await place.put("one", ENDED)
    await place.put("two", {"event": "metaevent.raised", "where": "event.metaevent == 'one'"})
    await place.ends()
    await place.quiet()
    assert place.jobs() == ["one", "two"]
    assert json.loads(place.outbox.sent[1].payload)["chain"] == ["one", "two"]


async def test_a_chain_is_known_after_a_restart(place):
    await place.put("one", ENDED, job="alarm")
    await place.put("two", {**ENDED, "function": "alarm"}, job="page")
    await place.ends()
    await again(place)
    await place.ends("alarm", request_id=message_key(place.outbox.sent[0]))
    assert json.loads(place.outbox.sent[1].payload)["chain"] == ["one", "two"]


# Bounds


async def test_a_rule_runs_so_many_jobs_a_minute(place):
    await place.put("each", ENDED)
    for _ in range(15):
        await place.ends()
    assert len(place.outbox.sent) == 10
    assert place.memory("each").refused == 5
    await place.advance(60, step=10)
    await place.ends()
    assert len(place.outbox.sent) == 11


async def test_an_account_runs_so_many_jobs_a_minute_and_another_its_own(place):
    await again(place, account_per_minute=4, rule_per_minute=3)
    for name in ("a", "b"):
        await place.put(name, ENDED)
    await place.put("theirs", ENDED, account=OTHERS)
    for _ in range(3):
        await place.ends()
    await place.ends(account=OTHERS)
    assert len(place.outbox.sent) == 5
    refused = [place.memory(name).refused for name in ("a", "b")]
    assert sum(refused) == 2


async def test_an_account_has_so_many_rules(place):
    await again(place, max_rules=2)
    await place.put("a", ENDED)
    await place.put("b", ENDED)
    with pytest.raises(Conflict, match="2 metaevents already"):
        await place.put("c", ENDED)
    await place.put("b", ABSENT)
    await place.put("c", ENDED, account=OTHERS)
    await place.metaevents.delete(MINE, "a")
    await place.put("c", ENDED)


async def test_a_disk_that_takes_no_job_gets_it_later(place):
    await place.put("dead", ABSENT)
    place.outbox.fails, place.sends = StorageFailed("full"), False
    await place.advance(8)
    assert place.outbox.sent == []
    place.outbox.fails = None
    await place.advance(2)
    place.sends = True
    await place.quiet()
    assert place.jobs() == ["dead"]


class SlowClock:
    """Each look at it takes 30 ms."""

    def __init__(self, clock):
        self.clock = clock
        self.now = clock.now
        self.sleep = clock.sleep
        self.looks = 0

    def monotonic(self):
        self.looks += 1
        return self.looks * 0.03


async def test_a_rule_that_holds_up_others_is_left_alone(place):
    await place.put("slow", ENDED)
    place.watcher._clock = SlowClock(place.clock)
    for _ in range(6):
        await place.ends()
    assert len(place.outbox.sent) == 3
    why = detail(place.metaevents.get(MINE, "slow"), place.clock.now())["Why"]
    assert any("left alone for 60 s more" in line for line in why)
    place.watcher._clock = place.clock
    await place.advance(61, step=10)
    await place.ends()
    assert len(place.outbox.sent) == 4
