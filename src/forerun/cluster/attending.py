"""One control plane's connection as the agent has it: the calls that it asked for, and the lease that they run by."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from forerun.cluster import frames, verbs
from forerun.cluster.beats import State, Telling
from forerun.cluster.contract import NOT_IDLE, SHARE
from forerun.cluster.failures import told
from forerun.cluster.frames import (
    AnswerHead,
    AskHead,
    BeganHead,
    CallHead,
    CreditHead,
    EchoHead,
    FailedHead,
    GivenHead,
    Moments,
    SpecHead,
    WantHead,
    WireBroken,
    encode,
)
from forerun.cluster.here import Held
from forerun.cluster.lease import WorkLease
from forerun.cluster.link import Link
from forerun.cluster.results import sent as pack_run
from forerun.cluster.streaming import WireSink
from forerun.cluster.verbs import Place
from forerun.errors import ForerunError, HostUnreachable, SetupFailed, StorageFailed
from forerun.model import Call, Outcome, Timings

log = logging.getLogger("forerun.cluster")

# More than a control plane can have in use at once, so that no number it still uses is forgotten.
SPECS_MAX = 20_001
ASKS_MAX = 1000

_calls = msgspec.msgpack.Decoder(CallHead)
_specs = msgspec.msgpack.Decoder(SpecHead)
_credits = msgspec.msgpack.Decoder(CreditHead)
_echoes = msgspec.msgpack.Decoder(EchoHead)
_asks = msgspec.msgpack.Decoder(AskHead)
_givens = msgspec.msgpack.Decoder(GivenHead)


class Served:
    """A call that was asked for."""

    __slots__ = ("access_key_id", "begun", "head", "number", "sink", "task", "told")

    def __init__(self, number: int, head: CallHead, sink: WireSink | None) -> None:
        self.number, self.head, self.sink = number, head, sink
        self.task: asyncio.Task[None] | None = None
        self.access_key_id = ""
        self.begun = self.told = False


class Attending:
    """From the greeting on; ``on_end`` hears of its end once, with the reason."""

    def __init__(
        self,
        place: Place,
        name: str,
        *,
        address: str,
        lease_s: float,
        on_end: Callable[["Attending", str], None],
    ) -> None:
        self.name = name
        self.address = address
        self.lease_s = lease_s
        self._place = place
        self._lease = WorkLease(lease_s)
        self._on_end = on_end
        self._telling = Telling()
        self._specs: dict[int, Held] = {}
        self._numbers: dict[str, int] = {}
        self._served: dict[int, Served] = {}
        self._by_key: dict[str, Served] = {}
        self._wanted: dict[int, asyncio.Future[GivenHead]] = {}
        self._next = 0
        self._asks = 0
        self.link = Link(
            {
                frames.CALL: self._take_call,
                frames.CANCEL: self._take_cancel,
                frames.SPEC: self._take_spec,
                frames.CREDIT: self._take_credit,
                frames.ECHO: self._take_echo,
                frames.ASK: self._take_ask,
                frames.TELL: self._take_tell,
                frames.GIVEN: self._take_given,
            },
            self._lost,
            {frames.CALL: lambda head: _calls.decode(head).size},
        )

    @property
    def working(self) -> int:
        """Its calls in flight."""
        return len(self._served)

    @property
    def leased(self) -> bool:
        """Whether this control plane is there, and the host may work for it."""
        return not self.link.closed and self._lease.holds(self._place.clock.monotonic())

    def end(self, reason: str) -> None:
        """End its calls and the connection."""
        self.link.end(reason)

    def beat(self, state: State) -> None:
        """Tell it how the host is."""
        beat = self._telling.beat(state, self._place.clock.monotonic())
        self.link.send(frames.BEAT, 0, encode(beat))

    def look(self, now: float) -> None:
        """End its calls when its lease is over; it hears of that, should it be able to."""
        if self._served and not self._lease.holds(now):
            log.warning(
                "%d calls of control plane %s are ended: it does not renew them",
                len(self._served),
                self.name,
            )
            head = encode(FailedHead("HostLost", "its lease was over", begun=True))
            for served in list(self._served.values()):
                self._forget(served)
                self.link.send(frames.FAILED, served.number, head)

    # -- what the agent asks -------------------------------------------------------------------------------------

    def number_of(self, key: str) -> int:
        """The number of a version's spec on this connection, 0 for one that did not come this way."""
        return self._numbers.get(key, 0)

    async def want(self, want: WantHead) -> GivenHead:
        """Ask the control plane for something. Raises ``HostUnreachable`` when the connection ends before."""
        self._next += 1
        number = self._next
        future: asyncio.Future[GivenHead] = asyncio.get_running_loop().create_future()
        self._wanted[number] = future
        try:
            if not self.link.send(frames.WANT, number, encode(want)):
                raise HostUnreachable(f"control plane {self.name} is gone")
            return await future
        finally:
            self._wanted.pop(number, None)

    def send_datagram(self, head: bytes, data: bytes) -> bool:
        """Pass one on; dropped when the connection is full, as datagrams are."""
        return not self.link.congested and self.link.send(frames.DATAGRAM, 0, head, data)

    def announce(self, access_key_id: str) -> bool:
        """Say which call runs in the sandbox with these credentials, which asks the platform for something; whether one of these does."""
        served = self._by_key.get(access_key_id)
        if served is None:
            return False
        if not served.told:
            served.told = True
            self.link.send(frames.BEGAN, served.number, encode(BeganHead(access_key_id)))
        return True

    # -- calls ---------------------------------------------------------------------------------------------------

    def _take_spec(self, number: int, head: bytes, _: bytes) -> None:
        held = self._place.here.hold(_specs.decode(head).spec)
        self._specs[number] = held
        self._numbers[held.spec.key] = number
        if len(self._specs) > SPECS_MAX:
            oldest = next(iter(self._specs))
            gone = self._specs.pop(oldest)
            if self._numbers.get(gone.spec.key) == oldest:
                del self._numbers[gone.spec.key]

    def _take_call(self, number: int, raw: bytes, payload: bytes) -> None:
        head = _calls.decode(raw)
        if number in self._served:
            raise WireBroken(f"two calls of number {number}")
        held = self._specs.get(head.spec)
        refusal = self._refusal(head, held)
        if refusal is not None or held is None:
            self.link.send(
                frames.FAILED, number, encode(refusal or told(HostUnreachable("no such spec")))
            )
            return
        place = self._place
        received = place.clock.now()
        sink = WireSink(self.link, number) if head.streams else None
        served = Served(number, head, sink)
        call = Call(
            request_id=head.request_id,
            payload=payload,
            invoked_arn=head.invoked_arn,
            deadline_ms=int(received * 1000) + head.left_ms if head.left_ms else 0,
            trace_id=head.trace_id,
            client_context=head.client_context,
            monitored=head.monitored,
            tracestate=head.tracestate,
            baggage=head.baggage,
            sink=sink,
            wait_s=head.wait_s,
            taken=lambda key: self._taken(served, key),
        )
        if not place.host.is_idle(held.spec.key):
            place.here.ask_ahead(held.spec, self)
        self._served[number] = served
        served.task = task = place.owner.spawn(self._run(served, held, call, received), name="call")
        if (share := head.share) is not None:
            # Also for one that is cancelled before it has begun.
            task.add_done_callback(lambda _: place.shares.give_back(share.key))

    def _refusal(self, head: CallHead, held: Held | None) -> FailedHead | None:
        place = self._place
        name = place.host.name
        if not place.accepts():
            return told(HostUnreachable(f"{name} takes no calls"))
        if not self._lease.holds(place.clock.monotonic()):
            return told(HostUnreachable(f"{name} has no lease of this control plane"))
        if held is None:
            return told(HostUnreachable(f"{name} does not know the spec of the call"))
        if head.idle_only and not place.host.is_idle(held.spec.key):
            return FailedHead("Throttled", f"nothing of it is idle on {name}", NOT_IDLE)
        if head.share is not None and not place.shares.take(head.share):
            message = f"{name} runs as much as it may of {head.share.key}"
            return FailedHead("Throttled", message, SHARE, 1.0)
        return None

    async def _run(self, served: Served, held: Held, call: Call, received: float) -> None:
        clock, number, timings = self._place.clock, served.number, Timings()
        failure: FailedHead | None = None
        try:
            run = await self._place.host.run(held.spec, call, timings)
        except StorageFailed as error:
            # Its code is not to be had here; another host may have it.
            failure = told(error if served.begun else HostUnreachable(error.message))
        except ForerunError as error:
            failure = told(error, begun=served.begun)
        except Exception as error:
            log.exception("a call failed")
            failure = told(error, begun=served.begun)
        finally:
            self._end(served)
        if failure is not None:
            self.link.send(frames.FAILED, number, encode(failure))
            return
        moments = Moments(
            received, timings.acquired, timings.loaded, timings.started, timings.ended, clock.now()
        )
        if isinstance(run.outcome, Outcome) and run.outcome.calls:
            self._place.heard(run.outcome.calls)
        head, payload = pack_run(run, moments)
        self.link.send(frames.RESULT, number, head, payload)

    def _taken(self, served: Served, access_key_id: str) -> None:
        """The handler is about to run. Control planes hear of it where somebody wants to know."""
        served.begun = True
        if served.access_key_id:
            self._by_key.pop(served.access_key_id, None)
        served.access_key_id = access_key_id
        if access_key_id:
            self._by_key[access_key_id] = served
        head = served.head
        if (
            head.watched
            or head.monitored
            or self._place.announce_all
            or self._place.here.talks(access_key_id)
        ):
            served.told = True
            self.link.send(frames.BEGAN, served.number, encode(BeganHead(access_key_id)))

    def _take_cancel(self, number: int, _: bytes, __: bytes) -> None:
        self.link.drop(number)
        if (served := self._served.get(number)) is not None:
            self._forget(served)

    def _take_credit(self, number: int, head: bytes, _: bytes) -> None:
        served = self._served.get(number)
        if served is not None and served.sink is not None:
            credit = _credits.decode(head)
            served.sink.taken(credit.taken, left=credit.left)

    def _forget(self, served: Served) -> None:
        """End a call: its sandbox goes with it."""
        self._end(served)
        if served.task is not None:
            served.task.cancel()

    def _end(self, served: Served) -> None:
        if self._served.get(served.number) is served:
            del self._served[served.number]
        if self._by_key.get(served.access_key_id) is served:
            del self._by_key[served.access_key_id]

    # -- beats and other verbs -----------------------------------------------------------------------------------

    def _take_echo(self, _: int, head: bytes, __: bytes) -> None:
        echo = _echoes.decode(head)
        if echo.renew:
            self._lease.renewed(echo.sent, self._place.clock.monotonic())

    def _take_given(self, number: int, head: bytes, _: bytes) -> None:
        future = self._wanted.get(number)
        if future is not None and not future.done():
            future.set_result(_givens.decode(head))

    def _take_tell(self, _: int, head: bytes, __: bytes) -> None:
        ask = _asks.decode(head)
        try:
            verbs.do(self._place, self._specs.get(ask.spec), ask, self.name)
        except ForerunError as error:
            log.warning("%s of control plane %s: %s", ask.verb[:40], self.name, error.message)

    def _take_ask(self, number: int, head: bytes, _: bytes) -> None:
        ask = _asks.decode(head)
        if self._asks >= ASKS_MAX:
            failure = told(SetupFailed("too much is asked at once"))
            self.link.send(frames.ANSWER, number, encode(AnswerHead(failure=failure)))
            return
        self._asks += 1
        self._place.owner.spawn(
            self._answer(number, verbs.answer(self._place, self._specs.get(ask.spec), ask)),
            name=ask.verb[:40],
        )

    async def _answer(self, number: int, asked: Coroutine[Any, Any, AnswerHead]) -> None:
        try:
            answer = await asked
        except Exception as error:
            if not isinstance(error, ForerunError):
                log.exception("a question could not be answered")
            answer = AnswerHead(failure=told(error))
        finally:
            self._asks -= 1
        self.link.send(frames.ANSWER, number, encode(answer))

    def _lost(self, reason: str) -> None:
        for served in list(self._served.values()):
            self._forget(served)
            if served.sink is not None:
                served.sink.taken(0, left=True)
        for future in self._wanted.values():
            if not future.done():
                future.set_exception(HostUnreachable(f"control plane {self.name} is gone"))
        self._on_end(self, reason)
