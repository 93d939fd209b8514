"""Rules are put, changed and deleted; and what is refused is named."""

import pytest
from tests.unit.control.watching import ABSENT, ENDED, MINE, OTHERS, STARTED, again

from forerun.control.metaevents import detail, summary
from forerun.errors import InvalidInput, NotFound
from forerun.events import Watch


async def test_a_rule_goes_on_while_its_criteria_stay(place):
    await place.put("dead", ABSENT)
    await place.advance(4)
    await place.put("dead", ABSENT, job="other", Description="changed")
    await place.advance(1.25)
    assert place.jobs() == ["dead"]
    assert place.outbox.sent[0].target.endswith(":other")


async def test_other_criteria_begin_anew(place):
    await place.put("dead", ABSENT)
    await place.advance(4)
    await place.put("dead", {**ABSENT, "within": 6})
    await place.advance(4)
    assert place.jobs() == []
    await place.advance(2.25)
    assert place.jobs() == ["dead"]
    assert place.memory("dead").fired == 1


async def test_a_disabled_rule_rests_and_begins_anew(place):
    await place.put("dead", ABSENT, Enabled=False)
    await place.advance(20, step=5)
    rule = place.metaevents.get(MINE, "dead")
    assert place.jobs() == []
    assert not summary(rule, place.clock.now())["Held"]
    assert "disabled" in detail(rule, place.clock.now())["Why"][0]
    await place.put("dead", ABSENT)
    await place.advance(4)
    assert place.jobs() == []
    await place.advance(1.25)
    assert place.jobs() == ["dead"]


@pytest.mark.databases
async def test_a_deleted_rule_is_gone_with_all_it_knew(place):
    await place.put("dead", ABSENT)
    await place.starts()
    await place.metaevents.delete(MINE, "dead")
    await place.advance(20, step=5)
    await again(place)
    await place.advance(20, step=5)
    assert place.jobs() == []
    assert place.metaevents.list(MINE) == []
    for table in ("metaevents", "metaevent_memories", "metaevent_seen"):
        assert await place.db.fetch(f"SELECT * FROM {table}") == []


@pytest.mark.databases
async def test_only_what_rules_look_for_is_watched(place):
    assert place.bus.watched(MINE, "f") is Watch.NOTHING
    await place.put("a", ABSENT)
    await place.put("b", {**ENDED, "function": "g", "where": "event.output == ''"})
    watched = [place.bus.watched(MINE, name) for name in ("f", "g", "job", "h")]
    assert watched == [Watch.METADATA, Watch.OUTPUT, Watch.METADATA, Watch.NOTHING]
    assert place.bus.watched(OTHERS, "f") is Watch.NOTHING
    await place.put("c", {"event": "execution.throttled"})
    assert place.bus.watched(MINE, "h") is Watch.METADATA
    for name in "abc":
        await place.metaevents.delete(MINE, name)
    assert place.bus.watched(MINE, "f") is Watch.NOTHING


GOOD = {"Name": "n", "When": ABSENT, "Job": "job"}
BAD = {
    "no name": ({"Name": None}, "Name must be"),
    "name": ({"Name": "a b"}, "Name must be"),
    "long name": ({"Name": "n" * 65}, "Name must be"),
    "unknown": ({"Then": "job"}, "There is no Then"),
    "no criteria": ({"When": None}, "When must be a JSON object"),
    "criteria": ({"When": {"absent": STARTED}}, "When.within"),
    "no job": ({"Job": ""}, "Job must be"),
    "job": ({"Job": 7}, "Job must be"),
    "job of another": ({"Job": f"arn:aws:lambda:us-home-1:{OTHERS}:function:f"}, "this account"),
    "job elsewhere": ({"Job": f"arn:aws:lambda:eu-west-1:{MINE}:function:f"}, "us-home-1"),
    "job is a queue": ({"Job": f"arn:aws:sqs:us-home-1:{MINE}:q"}, "not a function"),
    "both inputs": ({"Input": 1, "InputTransformer": {"InputTemplate": "1"}}, "not both"),
    "long input": ({"Input": "x" * 9000}, "8192"),
    "transformer": ({"InputTransformer": "x"}, "InputTransformer must have"),
    "template": ({"InputTransformer": {"InputTemplate": 7}}, "InputTemplate must be a text"),
    "paths": (
        {"InputTransformer": {"InputTemplate": "1", "InputPathsMap": {"a": 1}}},
        "InputPathsMap",
    ),
    "no such variable": ({"InputTransformer": {"InputTemplate": "<a>"}}, "variable 'a'"),
    "description": ({"Description": "x" * 513}, "Description must be"),
    "enabled": ({"Enabled": "yes"}, "Enabled must be true or false"),
    "cooldown": ({"Cooldown": "soon"}, "Cooldown must be a time"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD.keys())
async def test_bad_rules_are_refused_by_field(place, change, words):
    with pytest.raises(InvalidInput) as caught:
        await place.metaevents.put(MINE, GOOD | change)
    assert words in caught.value.message
    assert place.metaevents.list(MINE) == []


async def test_a_job_must_be_there(place):
    with pytest.raises(NotFound):
        await place.metaevents.put(MINE, GOOD | {"Job": "missing"})
