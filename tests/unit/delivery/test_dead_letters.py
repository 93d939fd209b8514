"""Dead letters of all shelves: found, sent again before they are removed, bounded; and what requests about them may say."""

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock

from forerun.api.caller import Caller
from forerun.api.dead_letters import DeadLetterRoutes
from forerun.control.delivery import dead_letters
from forerun.control.delivery.dead_letters import Bounds, DeadLetters, Which
from forerun.control.paging import to_marker
from forerun.errors import AccessDenied, InvalidInput, NotFound, StorageFailed
from forerun.model import DeadLetter, Message, Origin
from forerun.storage.dead_letters import DeadLetterStore
from forerun.storage.sqlite import MESSAGES

HOME, OTHER = "1" * 12, "2" * 12
FUNCTION = f"arn:aws:lambda:us-home-1:{HOME}:function:work"
QUEUE = f"arn:aws:sqs:us-home-1:{HOME}:jobs"
DEAD = f"arn:aws:sqs:us-home-1:{HOME}:dead"


def letter(name, target=FUNCTION, *, shelf="platform", account=HOME, **changes):
    message = Message(
        id=name,
        account=account,
        source="",
        principal="lambda.forerun",
        role="arn:aws:iam::1:role/r",
        target=target,
        payload=b'{"a":1}',
        origin=Origin(trace_id="ab" * 16, lineage="k:16"),
    )
    values = {"id": name, "shelf": shelf, "message": message, "reason": "RetriesExhausted"}
    return DeadLetter(**(values | changes))


class QueueShelf:
    def __init__(self, *letters):
        self.kept = list(letters)

    async def letters(self, account, *, after="", limit=100):
        mine = [each for each in self.kept if each.message.account == account]
        return [each for each in mine if each.id > after][:limit]

    async def letter(self, account, letter_id):
        found = [each for each in await self.letters(account) if each.id == letter_id]
        return found[0] if found else None

    async def remove(self, account, letter_id):
        found = await self.letter(account, letter_id)
        if found is not None:
            self.kept.remove(found)
        return found is not None


class Sending:
    def __init__(self):
        self.sent = []
        self.fails = {}

    async def run_again(self, message, *, memory_mb=0, timeout_s=0):
        name = message.id.partition("/")[0]
        if name in self.fails:
            raise self.fails[name]
        self.sent.append((message, memory_mb, timeout_s))


class Rig:
    def __init__(self, db):
        self.store, self.sending, self.clock = DeadLetterStore(db), Sending(), FakeClock()
        self.shelf = QueueShelf(
            letter("100", QUEUE, shelf=DEAD, reason="MaxReceiveCount"),
            letter("101", QUEUE, shelf=DEAD, account=OTHER, reason="MaxReceiveCount"),
        )
        self.letters = DeadLetters(
            store=self.store,
            again=self.sending,
            bounds=Bounds(50, 1 << 20, 3600.0),
            clock=self.clock,
        )
        self.letters.add([self.shelf])
        self.routes = DeadLetterRoutes(self.letters)
        self.caller = Caller(
            account=HOME, region="us-home-1", principal_arn="", access_key_id="", request_id="r"
        )

    async def ids(self, **which):
        page = await self.letters.page(HOME, Which(**which), None, 1000)
        return [each.id for each in page.items]


@pytest.fixture
async def rig(tmp_path):
    db = await open_database(tmp_path / "messages.db", migrations=MESSAGES)
    made = Rig(db)
    await made.store.put(
        letter("a"),
        letter("b", f"{FUNCTION}:live", reason="RecursionDetected"),
        letter("c", f"{FUNCTION}s", reason="AccessDenied"),
        letter("x", account=OTHER),
    )
    yield made
    await db.close()


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        ({}, ["a", "b", "c", "100"]),
        ({"shelf": "platform"}, ["a", "b", "c"]),
        ({"shelf": DEAD}, ["100"]),
        ({"target": "work"}, ["a", "b"]),
        ({"target": "work:live"}, ["b"]),
        ({"target": FUNCTION}, ["a"]),
        ({"target": "jobs"}, ["100"]),
        ({"reason": "AccessDenied"}, ["c"]),
        ({"reason": "AccessDenied", "target": "work"}, []),
    ],
    ids=lambda each: "-".join(each) or "any" if isinstance(each, dict | list) else None,
)
async def test_letters_are_found_by_what_they_were_for(rig, which, ids):
    assert await rig.ids(**which) == ids


async def test_pages_go_on_from_shelf_to_shelf(rig):
    seen, marker = [], None
    while True:
        page = await rig.letters.page(HOME, Which(), marker, 1)
        seen += [each.id for each in page.items]
        marker = page.marker
        if marker is None:
            break
    assert seen == ["a", "b", "c", "100"]


@pytest.mark.databases
async def test_large_letters_are_held_a_few_at_a_time_and_all_are_redriven(rig, monkeypatch):
    monkeypatch.setattr(dead_letters, "_PAGE_BYTES", 2 * len(letter("a").message.payload))
    page = await rig.letters.page(HOME, Which(), None, 50)
    assert [each.id for each in page.items] == ["a", "b"]
    done = await rig.letters.redrive(HOME, Which())
    assert (done.letters, done.skipped, done.more) == (4, [], False)
    assert len(rig.sending.sent) == 4


async def test_a_letter_is_sent_as_a_new_message_of_its_owner(rig):
    done = await rig.letters.redrive(HOME, ["a"], memory_mb=512, timeout_s=9)
    assert (done.letters, done.skipped) == (1, [])
    [(message, memory_mb, timeout_s)] = rig.sending.sent
    assert (memory_mb, timeout_s) == (512, 9)
    assert message.id == "a/redriven/a"
    assert (message.principal, message.role) == ("redrive.forerun", "")
    assert message.origin == Origin(trace_id="ab" * 16)
    assert await rig.ids(target=FUNCTION) == []


async def test_a_letter_to_another_account_needs_its_leave_again(rig):
    await rig.store.put(letter("far", FUNCTION.replace(HOME, OTHER)))
    await rig.letters.redrive(HOME, ["far"])
    [(message, _, _)] = rig.sending.sent
    assert (message.principal, message.role) == ("lambda.forerun", "arn:aws:iam::1:role/r")


@pytest.mark.databases
async def test_what_cannot_be_sent_stays_with_the_reason(rig):
    rig.sending.fails = {"b": NotFound("no such function"), "c": StorageFailed("disk full")}
    done = await rig.letters.redrive(HOME, Which())
    assert done.letters == 2
    assert [(each.id, each.why) for each in done.skipped] == [
        ("b", "no such function"),
        ("c", "disk full"),
    ]
    assert await rig.ids() == ["b", "c"]


async def test_letters_of_others_are_neither_shown_nor_touched(rig):
    with pytest.raises(NotFound):
        await rig.letters.one(HOME, "x")
    done = await rig.letters.delete(HOME, ["x", "101", "nothing"])
    assert (done.letters, len(done.skipped)) == (0, 3)
    assert await rig.store.letter(OTHER, "x") is not None
    assert len(rig.shelf.kept) == 2


async def test_memory_and_timeout_are_for_functions(rig):
    done = await rig.letters.redrive(HOME, Which(), memory_mb=512)
    assert [each.id for each in done.skipped] == ["100"]
    assert "for letters to functions" in done.skipped[0].why
    assert done.letters == 3


@pytest.mark.databases
async def test_bounds_are_kept_for_every_account(rig):
    await rig.store.put(
        *(letter(f"n{number:03}", failed_at=rig.clock.now()) for number in range(60)),
        letter("kept", account=OTHER, failed_at=rig.clock.now()),
    )
    await rig.letters.sweep()
    assert len(await rig.ids(shelf="platform")) == 50
    assert (await rig.store.sizes())[OTHER].letters == 1
    rig.clock.jump(3601)
    await rig.letters.sweep()
    assert await rig.ids(shelf="platform") == []


async def test_requests_list_show_redrive_and_delete(rig):
    listed = await rig.routes.list(rig.caller, {"Target": "work", "MaxItems": "1"})
    [shown] = listed["DeadLetters"]
    assert (shown["Id"], shown["Reason"], shown["Bytes"]) == ("a", "RetriesExhausted", 7)
    assert listed["NextMarker"]
    one = await rig.routes.show(rig.caller, {"Id": "a"})
    assert (one["Payload"], one["TraceId"]) == ('{"a":1}', "ab" * 16)
    redriven = await rig.routes.redrive(rig.caller, {"Ids": ["a", "nothing"]})
    assert redriven["Redriven"] == 1
    assert [each["Id"] for each in redriven["Skipped"]] == ["nothing"]
    assert (await rig.routes.delete(rig.caller, {"All": True}))["Deleted"] == 3


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({}, "Give Ids"),
        ({"All": "yes"}, "All"),
        ({"All": False}, "Give Ids"),
        ({"Ids": []}, "Ids"),
        ({"Ids": "a"}, "Ids"),
        ({"Ids": [1]}, "Ids"),
        ({"Ids": [""]}, "Ids"),
        ({"Ids": ["a"] * 10_001}, "Ids"),
        ({"Ids": ["a"], "All": True}, "either"),
        ({"Target": 5}, "Target"),
        ({"All": True, "MemorySize": "512"}, "MemorySize"),
        ({"All": True, "MemorySize": True}, "MemorySize"),
        ({"All": True, "MemorySize": 64}, "MemorySize"),
        ({"All": True, "Timeout": 901}, "Timeout"),
        ({"All": True, "Timeout": 0}, "Timeout"),
        ({"All": True, "Everything": 1}, "Everything"),
    ],
)
async def test_wishes_that_cannot_be_meant_are_refused(rig, wish, named):
    with pytest.raises(InvalidInput, match=named):
        await rig.routes.redrive(rig.caller, wish)
    assert len(await rig.ids()) == 4


@pytest.mark.parametrize(
    "query",
    [
        {"MaxItems": "0"},
        {"MaxItems": "1001"},
        {"MaxItems": "²"},
        {"MaxItems": "9" * 5000},
        {"Marker": "nonsense"},
        {"Marker": to_marker(("a", 1))},
    ],
)
async def test_queries_that_cannot_be_meant_are_refused(rig, query):
    with pytest.raises(InvalidInput):
        await rig.routes.list(rig.caller, query)
    with pytest.raises(InvalidInput):
        await rig.routes.show(rig.caller, {})


async def test_a_refusal_of_the_target_is_told_and_leaves_the_letter(rig):
    rig.sending.fails = {"a": AccessDenied("may not")}
    told = await rig.routes.redrive(rig.caller, {"Ids": ["a"]})
    assert told["Skipped"] == [{"Id": "a", "Shelf": "platform", "Reason": "may not"}]
    assert "a" in await rig.ids()
