"""What control planes tell and ask each other: nothing changes on the way, and what cannot be read harms nothing."""

import msgspec
import pytest

from forerun.control.elsewhere import RELAY, SEND, Desk, ElsewhereOutlet, Failure
from forerun.control.relaying import (
    DATAGRAMS_BYTES,
    Arrival,
    Datagram,
    Departure,
    Distant,
    Lookout,
    Relay,
    WatchedElsewhere,
    packed,
    unpacked,
)
from forerun.errors import (
    ForerunError,
    HostLost,
    InvalidInput,
    NotFound,
    StorageFailed,
    Throttled,
)
from forerun.events import (
    Bus,
    DeadLetterKept,
    ExecutionBegan,
    ExecutionEnded,
    ExecutionSeen,
    Watch,
    Watched,
)
from forerun.model import InvocationRecord, Message, Origin, OutgoingCall, Timings, TraceContext

ACCOUNT = "111111111111"
CONTEXT = TraceContext(
    trace_id="t", span_id="s", origin=Origin(), header="h", weight=3, account=ACCOUNT, function="f"
)
RECORD = InvocationRecord(
    request_id="r", account=ACCOUNT, name="f", version="$LATEST", timings=Timings(received=1.5)
)
ENDED = ExecutionEnded(
    record=RECORD,
    context=CONTEXT,
    region="us-home-1",
    calls=[OutgoingCall(span_id="c", started=1.0, host="db:5432")],
    cpu_ms=2.5,
)
TELLINGS = [
    ExecutionBegan(account=ACCOUNT, name="f", version="1", request_id="r", context=CONTEXT, at=1.0),
    ENDED,
    ExecutionSeen(ended=ENDED, output=b"\x00out"),
    DeadLetterKept(account=ACCOUNT, target="t", reason="r", at=2.0),
    Arrival(account=ACCOUNT, name="f", qualifier=None, request_id="r", context=CONTEXT, at=1.0),
    Departure(span_id="s"),
    Datagram(data=b"\xff", account=ACCOUNT, name="f"),
]


class Sources:
    """An outbox that keeps what it is given."""

    def __init__(self):
        self.sent, self.kept = [], []

    async def send(self, messages):
        self.sent += messages

    async def keep(self, letters):
        self.kept += letters


class Nobody:
    """Foresight and registry of a holder that looks ahead of nothing."""

    active = False


def make_desk(bus, outlet, datagrams):
    distant = Distant(bus, Nobody(), Nobody(), lambda *those: datagrams.append(those))
    watched = Watched({(ACCOUNT, "f"): Watch.OUTPUT}, {"222222222222": Watch.METADATA})
    return Desk(
        outlet=outlet, run=None, registry=Nobody(), distant=distant, watched=lambda: watched
    )


def test_everything_that_is_told_arrives_as_it_was():
    assert unpacked(packed(TELLINGS)) == TELLINGS


def test_what_a_newer_control_plane_tells_is_passed_over():
    newer = msgspec.msgpack.encode(
        [("Unheard", {"x": 1}), ("Departure", {"span_id": "s", "more": 2}), ("Departure", 7)]
    )
    assert unpacked(newer) == [Departure(span_id="s")]
    with pytest.raises(msgspec.DecodeError):
        unpacked(b"\xc1")


@pytest.mark.parametrize(
    "error",
    [
        Throttled("later", reason="CallerRateLimitExceeded", retry_after_s=7.0),
        NotFound("no such thing"),
        StorageFailed("away"),
        HostLost("lost", over_in_s=3.5),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_arrive_as_what_they_are(error):
    raised = msgspec.convert(msgspec.to_builtins(Failure.of(error)), Failure).raised()
    assert type(raised) is type(error)
    assert raised.message == error.message
    assert vars(raised) == vars(error)


def test_what_is_no_error_of_ours_is_none_that_could_be_made():
    for name in ("Exception", "__builtins__", "os", "HostLost2"):
        assert type(Failure(error=name, message="m").raised()) is StorageFailed


async def test_the_desk_does_what_others_ask_and_refuses_what_cannot_be_read():
    bus, outlet, datagrams = Bus(), Sources(), []
    desk = make_desk(bus, outlet, datagrams)
    message = Message(
        id="m",
        account=ACCOUNT,
        source="arn:aws:events:r:1:rule/x",
        principal="events.amazonaws.com",
        target="arn:aws:sqs:r:1:q",
        payload=b"\x00b",
        origin=Origin(trace_id="t"),
    )
    await ElsewhereOutlet(desk.answer).send([message])
    assert outlet.sent == [message]
    for name in (SEND, RELAY, "keep", "run"):
        with pytest.raises(InvalidInput):
            await desk.answer(name, b"\xc1garbage")
    with pytest.raises(InvalidInput):
        await desk.answer("__class__", b"")
    await bus.close()


async def test_notices_go_to_the_holder_and_what_it_watches_comes_back():
    here, there, datagrams, heard = Bus(), Bus(), [], []
    desk = make_desk(there, Sources(), datagrams)

    async def hear(batch):
        heard.extend(batch)

    there.listen("all", hear)
    there.heed("all", hear)
    lookout = Lookout()
    relay = Relay(here, lookout, lambda batch: desk.answer(RELAY, batch))
    here.tell(ENDED)
    here.note(TELLINGS[3])
    lookout.note(TELLINGS[6])
    await relay.flush()
    await relay.ask()
    assert here.watched(ACCOUNT, "f") is Watch.OUTPUT
    assert here.watched("222222222222", "any") is Watch.METADATA
    await here.close()
    await there.close()
    assert heard == [ENDED, TELLINGS[3]] or heard == [TELLINGS[3], ENDED]
    assert datagrams == [(b"\xff", ACCOUNT, "f")]
    assert (relay.dropped, relay.told) == (0, 3)


async def test_what_cannot_be_told_is_counted():
    async def nobody(batch):
        raise ForerunError("no holder")

    bus, lookout = Bus(), Lookout()
    relay = Relay(bus, lookout, nobody)
    bus.tell(ENDED)
    lookout.note(Departure(span_id="s"))
    await relay.flush()
    await bus.close()
    assert relay.dropped == 2


def test_no_function_takes_the_room_of_others_datagrams():
    lookout = Lookout()
    for _ in range(1000):
        lookout.note(Datagram(data=bytes(60_000), account=ACCOUNT, name="loud"))
    lookout.note(Datagram(data=bytes(60_000), account=ACCOUNT, name="quiet"))
    told = lookout.take()
    assert sum(len(each.data) for each in told) <= DATAGRAMS_BYTES
    assert [each.name for each in told].count("quiet") == 1
    assert lookout.dropped == 1001 - len(told)
    lookout.note(Datagram(data=bytes(60_000), account=ACCOUNT, name="loud"))
    assert len(lookout.take()) == 1


def test_what_is_watched_is_told_whole():
    watched = Watched({(ACCOUNT, "f"): Watch.METADATA}, {"2": Watch.OUTPUT})
    told = msgspec.msgpack.decode(
        msgspec.msgpack.encode(WatchedElsewhere.of(watched)), type=WatchedElsewhere
    ).watched()
    assert told.functions == watched.functions
    assert told.accounts == watched.accounts
