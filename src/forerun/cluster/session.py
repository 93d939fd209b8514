"""A control plane's side of one connection to an agent: what it asked, what is in flight, what it answers to beats."""

import asyncio
import itertools
import logging
from collections.abc import Callable
from pathlib import PurePath

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.cluster import frames
from forerun.cluster.beats import Pace, Unbelievable, read
from forerun.cluster.contract import Beat
from forerun.cluster.failures import heard
from forerun.cluster.flight import Flight, Landed
from forerun.cluster.frames import (
    AnswerHead,
    AskHead,
    BeganHead,
    CallHead,
    CreditHead,
    DatagramHead,
    EchoHead,
    FailedHead,
    GivenHead,
    ResultHead,
    SpecHead,
    StreamHead,
    WantHead,
    WireBroken,
    encode,
)
from forerun.cluster.giving import Giver
from forerun.cluster.lease import GrantedLease
from forerun.cluster.link import Link
from forerun.cluster.results import run_of, safe_type
from forerun.errors import HostLost, HostUnreachable
from forerun.model import Call, SandboxSpec, TraceContext

log = logging.getLogger("forerun.cluster")

SPECS_MAX = 10_000
WANTS_MAX = 256
GIVE_S = 30.0
DATAGRAM_MAX = 65_536

_calls = msgspec.msgpack.Decoder(ResultHead)
_failed = msgspec.msgpack.Decoder(FailedHead)
_began = msgspec.msgpack.Decoder(BeganHead)
_streams = msgspec.msgpack.Decoder(StreamHead)
_wants = msgspec.msgpack.Decoder(WantHead)
_datagrams = msgspec.msgpack.Decoder(DatagramHead)
_answers = msgspec.msgpack.Decoder(AnswerHead)


class Session:
    """``on_beat`` and ``on_end`` are told of beats (when they were answered) and of the end, with the reason.

    ``renew`` says whether what this control plane has claimed outlives the lease that a renewal gives.
    """

    def __init__(  # noqa: PLR0913 the wiring of a connection, all by keyword
        self,
        host: str,
        *,
        clock: Clock,
        lease_s: float,
        giver: Giver,
        renew: Callable[[], bool],
        on_beat: Callable[["Session", Beat], None],
        on_end: Callable[["Session", str], None],
    ) -> None:
        self.host = host
        self.beat: Beat | None = None
        self.beat_at = clock.monotonic()
        self._pace = Pace(self.beat_at)
        self._clock = clock
        self._lease = GrantedLease(lease_s)
        self._giver = giver
        self._renew = renew
        self._on_beat = on_beat
        self._on_end = on_end
        self._numbers = itertools.count(1)
        self._flights: dict[int, Flight] = {}
        self._asked: dict[int, tuple[asyncio.Future[AnswerHead], float]] = {}
        self._specs: dict[str, tuple[SandboxSpec, int]] = {}
        self._by_number: dict[int, SandboxSpec] = {}
        self._functions: set[tuple[str, str]] = set()
        self._keys: dict[str, Flight] = {}
        self._owner = TaskOwner(f"session-{host}")
        self.link = Link(
            {
                frames.RESULT: self._take_result,
                frames.FAILED: self._take_failed,
                frames.BEGAN: self._take_began,
                frames.STREAM: self._take_stream,
                frames.CHUNK: self._take_chunk,
                frames.BEAT: self._take_beat,
                frames.WANT: self._take_want,
                frames.DATAGRAM: self._take_datagram,
                frames.ANSWER: self._take_answer,
            },
            self._lost,
            {frames.RESULT: lambda head: _calls.decode(head).size},
            awaits=self._flights.__contains__,
        )

    def end(self, reason: str) -> None:
        """Give the connection up."""
        self.link.end(reason)

    @property
    def over_in_s(self) -> float:
        """After how many seconds the host surely has ended what was begun on this connection."""
        return self._lease.over_in_s(self._clock.monotonic())

    def keys(self) -> set[str]:
        """Of the versions that it has heard of from here."""
        return set(self._specs)

    def running(self, access_key_id: str) -> TraceContext | None:
        """The execution in the sandbox with these credentials."""
        flight = self._keys.get(access_key_id)
        return flight.call.context if flight is not None else None

    # -- calls ---------------------------------------------------------------------------------------------------

    def call(self, spec: SandboxSpec, call: Call, flight: Flight, now: float) -> int:
        """Send a call; its number. Raises ``HostUnreachable`` when it surely was not sent. ``now`` is epoch seconds."""
        number = next(self._numbers)
        head = CallHead(
            self._spec(spec),
            len(call.payload),
            call.request_id,
            call.invoked_arn,
            max(1, round(call.deadline_ms - now * 1000)) if call.deadline_ms else 0,
            call.trace_id,
            call.client_context,
            call.monitored,
            call.tracestate,
            call.baggage,
            call.sink is not None,
            call.began is not None,
            call.share,
            call.wait_s,
            call.idle_only,
        )
        self._flights[number] = flight
        if not self.link.send(frames.CALL, number, encode(head), call.payload):
            self._flights.pop(number, None)
            if not flight.landed.done():
                raise HostUnreachable(f"{self.host} is not connected")
        return number

    async def carry(self, number: int, flight: Flight) -> Landed:
        """Pass a streamed response on to the call's sink as it takes it, until the call has landed."""
        sink, pieces = flight.call.sink, flight.pieces
        if sink is None or pieces is None:
            return await flight.landed
        listening = True
        while (piece := await pieces.get()) is not None:
            if listening:
                try:
                    await (sink.start(piece) if isinstance(piece, str) else sink.write(piece))
                except Exception:
                    log.info("the client of a streamed response left", exc_info=True)
                    listening = False
            taken = len(piece) if isinstance(piece, bytes) else 0
            flight.untaken -= taken
            self.link.send(frames.CREDIT, number, encode(CreditHead(taken, not listening)))
        return await flight.landed

    def cancel(self, number: int) -> None:
        """Nobody waits for it any more: it is ended there."""
        flight = self._flights.pop(number, None)
        if flight is not None:
            self._over(number, flight)
            self.link.drop(number)
            self.link.withdraw(number)
            self.link.send(frames.CANCEL, number)

    def expire(self, now: float) -> None:
        """Give up what is beyond its deadline. ``now`` is monotonic."""
        for number, flight in [item for item in self._flights.items() if item[1].deadline < now]:
            self.cancel(number)
            flight.fail(
                HostLost(f"{self.host} did not answer a call in time", over_in_s=self.over_in_s)
            )
        for number, (future, deadline) in list(self._asked.items()):
            if deadline < now or future.done():
                del self._asked[number]
                if not future.done():
                    future.set_exception(HostLost(f"{self.host} did not answer in time"))

    # -- other verbs ---------------------------------------------------------------------------------------------

    def tell(self, ask: AskHead, spec: SandboxSpec | None) -> None:
        """Send a verb that is not answered."""
        if spec is not None:
            ask = msgspec.structs.replace(ask, spec=self._spec(spec))
        self.link.send(frames.TELL, 0, encode(ask))

    def ask(
        self, ask: AskHead, spec: SandboxSpec | None, deadline: float
    ) -> "asyncio.Future[AnswerHead]":
        """Send a verb; its answer comes until ``deadline`` (monotonic), or an error."""
        if spec is not None:
            ask = msgspec.structs.replace(ask, spec=self._spec(spec))
        number = next(self._numbers)
        future: asyncio.Future[AnswerHead] = asyncio.get_running_loop().create_future()
        self._asked[number] = future, deadline
        if not self.link.send(frames.ASK, number, encode(ask)) and not future.done():
            self._asked.pop(number, None)
            future.set_exception(HostUnreachable(f"{self.host} is not connected"))
        return future

    def _spec(self, spec: SandboxSpec) -> int:
        """The number of a spec, which travels once."""
        known = self._specs.get(spec.key)
        if known is not None and (known[0] is spec or known[0] == spec):
            return known[1]
        if len(self._specs) >= SPECS_MAX:
            self._specs.clear()
            self._by_number.clear()
            self._functions.clear()
        number = next(self._numbers)
        self._specs[spec.key] = spec, number
        self._by_number[number] = spec
        self._functions.add((spec.account, spec.name))
        self.link.send(frames.SPEC, number, encode(SpecHead(travelling(spec))))
        return number

    # -- what comes ----------------------------------------------------------------------------------------------

    def _take_result(self, number: int, head: bytes, payload: bytes) -> None:
        flight = self._flights.pop(number, None)
        if flight is None:
            return
        self._over(number, flight)
        try:
            landed = run_of(_calls.decode(head), payload)
        except (WireBroken, ValueError, RecursionError) as error:
            flight.fail(HostLost(f"{self.host} answered what is no run", over_in_s=self.over_in_s))
            raise WireBroken(f"no run: {error}") from None
        flight.land(landed)

    def _take_failed(self, number: int, head: bytes, _: bytes) -> None:
        # Read before it is taken out: whoever waits hears of a connection that ends because this is no answer.
        failed = _failed.decode(head)
        flight = self._flights.pop(number, None)
        if flight is not None:
            self._over(number, flight)
            flight.fail(heard(self.host, failed, self.over_in_s))

    def _take_began(self, number: int, head: bytes, _: bytes) -> None:
        flight = self._flights.get(number)
        if flight is None:
            return
        key = _began.decode(head).access_key_id
        if key:
            self._keys.pop(flight.access_key_id, None)
            flight.access_key_id = key
            self._keys[key] = flight
        flight.begin()

    def _take_stream(self, number: int, head: bytes, _: bytes) -> None:
        if (flight := self._flights.get(number)) is not None:
            flight.begin_stream(safe_type(_streams.decode(head).content_type))

    def _take_chunk(self, number: int, _: bytes, payload: bytes) -> None:
        if (flight := self._flights.get(number)) is not None:
            flight.take_piece(payload)

    def _take_answer(self, number: int, head: bytes, _: bytes) -> None:
        answer = _answers.decode(head)
        future, _deadline = self._asked.pop(number, (None, 0.0))
        if future is None or future.done():
            return
        if answer.failure is not None:
            future.set_exception(heard(self.host, answer.failure, self.over_in_s))
        else:
            future.set_result(answer)

    def _take_beat(self, _: int, head: bytes, __: bytes) -> None:
        received = self._clock.monotonic()
        try:
            self._pace.take(received)
            beat = read(head, self.host, self.beat)
            self.beat, self.beat_at = beat, received
            renew = self._renew()
            if renew:
                self._lease.answer(received)
            # Before anybody who hears of it calls: a host without a lease refuses.
            self.link.send(frames.ECHO, 0, encode(EchoHead(beat.sequence, beat.sent, renew)))
            self._on_beat(self, beat)
        except Unbelievable as error:
            log.warning("%s is dropped, its heartbeat cannot be believed: %s", self.host, error)
            self.end(f"its heartbeat cannot be believed: {error}")

    def _take_want(self, number: int, head: bytes, _: bytes) -> None:
        want = _wants.decode(head)
        if len(self._owner) >= WANTS_MAX:
            failure = FailedHead("SetupFailed", "too much is wanted at once")
            self.link.send(frames.GIVEN, number, encode(GivenHead(failure=failure)))
            return
        self._owner.spawn(self._give(number, want), name=f"give {want.what[:20]}")

    async def _give(self, number: int, want: WantHead) -> None:
        spec = self._by_number.get(want.spec)
        try:
            async with asyncio.timeout(GIVE_S):
                given = await self._giver.give(self.host, want, spec)
        except TimeoutError:
            given = GivenHead(failure=FailedHead("SetupFailed", "it could not be had in time"))
        self.link.send(frames.GIVEN, number, encode(given))

    def _take_datagram(self, _: int, head: bytes, payload: bytes) -> None:
        told = _datagrams.decode(head)
        known = not told.account or (told.account, told.name) in self._functions
        if not known or len(payload) > DATAGRAM_MAX:
            # A host speaks for functions that it was given, and for no others.
            return
        self._giver.take_datagram(payload, told.account, told.region, told.name)

    def _over(self, _: int, flight: Flight) -> None:
        if flight.access_key_id and self._keys.get(flight.access_key_id) is flight:
            del self._keys[flight.access_key_id]

    def _lost(self, reason: str) -> None:
        over_in_s = self.over_in_s
        flights, self._flights = self._flights, {}
        for flight in flights.values():
            flight.fail(HostLost(f"{self.host} was lost: {reason}", over_in_s=over_in_s))
        asked, self._asked = self._asked, {}
        for future, _ in asked.values():
            if not future.done():
                future.set_exception(HostLost(f"{self.host} was lost: {reason}"))
        self._keys.clear()
        self._on_end(self, reason)

    async def close(self) -> None:
        """End what it is about to give, when the connection is over."""
        await self._owner.close()


def travelling(spec: SandboxSpec) -> SandboxSpec:
    """A spec as it is sent: trees by their digests, since paths differ, and nothing that is one machine's own."""
    return msgspec.structs.replace(
        spec,
        code_dir=PurePath(spec.code_dir).name,
        layers_dir=PurePath(spec.layers_dir).name if spec.layers_dir else None,
        credentials=None,
        zygote="",
    )
