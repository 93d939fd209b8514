"""What a control plane has of a host: streamed responses, errors, clocks that differ, and hosts that say what cannot be."""

import asyncio
import random
from collections import Counter

import pytest
from tests.agents import call, eventually, timings
from tests.unit.cluster.near import lying, near

from forerun.cluster import frames
from forerun.cluster.flight import WINDOW
from forerun.errors import (
    HostLost,
    HostUnreachable,
    InvalidInput,
    NoSuchRuntime,
    SandboxDead,
    SandboxError,
    SetupFailed,
    StorageFailed,
    Throttled,
)
from forerun.model import (
    InitFailure,
    LogLine,
    Origin,
    Outcome,
    OutgoingCall,
    Phase,
    Share,
    TraceContext,
)


class Client:
    """Takes a streamed response when it is let."""

    def __init__(self) -> None:
        self.content_type = ""
        self.got = 0
        self.let = asyncio.Event()
        self.leaves = False

    async def start(self, content_type: str) -> None:
        self.content_type = content_type

    async def write(self, chunk: bytes) -> None:
        await self.let.wait()
        if self.leaves:
            raise ConnectionResetError
        self.got += len(chunk)


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
async def test_a_response_is_streamed_as_its_client_takes_it(tmp_path, leaves) -> None:
    async with near(tmp_path) as (plane, remote, host):
        sent, failed = 0, []

        async def do(_spec, call, _timings) -> Outcome:
            nonlocal sent
            await call.sink.start("text/plain")
            for _ in range(80):
                try:
                    await call.sink.write(bytes(100_000))
                except ConnectionError as error:
                    failed.append(error)
                    break
                sent += 100_000
            return Outcome(payload=b"", streamed=True)

        host.do, client = do, Client()
        client.leaves = leaves
        running = asyncio.ensure_future(remote.run(plane.deploy("1"), call(sink=client), timings()))
        await eventually(lambda: client.content_type == "text/plain" and sent)
        # No more than a window is on its way while nobody takes it.
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.05)
        assert sent <= WINDOW + 100_000
        client.let.set()
        run = await running
        assert run.outcome.streamed
        assert (client.got, len(failed)) == ((0, 1) if leaves else (8_000_000, 0))


async def test_errors_come_as_what_they_are(tmp_path) -> None:
    async with near(tmp_path) as (plane, remote, host):
        raised: Exception = ValueError("secret")

        async def do(_spec, call, _timings) -> Outcome:
            raise raised

        host.do, spec = do, plane.deploy("1")
        for error, expected in [
            (Throttled("full", reason="R", retry_after_s=3.0), Throttled),
            (NoSuchRuntime("none"), NoSuchRuntime),
            (SetupFailed("broken"), SetupFailed),
            (SandboxDead("gone"), SandboxDead),
            (InvalidInput("bad"), InvalidInput),
            (HostUnreachable("not here"), HostUnreachable),
            (StorageFailed("no disk"), HostUnreachable),
            (HostLost("lost", over_in_s=1.0), HostLost),
        ]:
            raised = error
            with pytest.raises(expected) as told:
                await remote.run(spec, call(), timings())
            assert type(told.value) is expected
            assert error.message in told.value.message
            if isinstance(told.value, Throttled):
                assert (told.value.reason, told.value.retry_after_s) == ("R", 3.0)
        raised = ValueError("secret")
        with pytest.raises(SandboxError) as told:
            await remote.run(spec, call(), timings())
        assert "secret" not in told.value.message


@pytest.mark.parametrize("shift_s", [-7200.0, 7200.0], ids=["behind", "ahead"])
async def test_times_are_those_of_here_though_clocks_differ(tmp_path, shift_s) -> None:
    async with near(tmp_path, shift_s=shift_s) as (plane, remote, host):

        async def do(_spec, call, timings) -> Outcome:
            timings.acquired = timings.loaded = host.clock.now()
            timings.started = host.clock.now()
            await asyncio.sleep(0.05)
            timings.ended = host.clock.now()
            line = LogLine(int(timings.ended * 1000), "line")
            made = OutgoingCall(span_id="1" * 16, started=timings.started, ended=timings.ended)
            return Outcome(payload=b"1", logs=[line], calls=[made])

        host.do, moments = do, timings()
        sent = plane.clock.now()
        run = await remote.run(plane.deploy("1"), call(), moments)
        received = plane.clock.now()
        outcome = run.outcome
        assert sent <= moments.acquired <= moments.started < moments.ended <= received
        assert outcome.ended - outcome.started > 0.045
        assert sent - 1 < outcome.logs[0].time_ms / 1000 < received + 1
        assert sent - 1 < outcome.calls[0].started < outcome.calls[0].ended < received + 1


async def test_a_deadline_is_kept_though_clocks_differ(tmp_path) -> None:
    async with near(tmp_path, shift_s=7200.0) as (plane, remote, host):
        await remote.run(
            plane.deploy("1"), call(deadline_ms=int((plane.clock.now() + 5) * 1000)), timings()
        )
        left_s = host.calls[0].deadline_ms / 1000 - host.clock.now()
        assert 2 < left_s <= 5


async def test_running_is_known_by_credentials_of_watched_calls_while_they_run(tmp_path) -> None:
    async with near(tmp_path) as (plane, remote, host):
        go = asyncio.Event()

        async def do(spec, call, timings) -> Outcome:
            outcome = await host.echo(spec, call, timings)
            await go.wait()
            return outcome

        host.do, began = do, []
        context = TraceContext(trace_id="0" * 32, span_id="5" * 16, origin=Origin(), header="")
        watched = call(
            context=context, monitored=True, request_id="w", began=lambda: began.append(1)
        )
        running = asyncio.ensure_future(remote.run(plane.deploy("1"), watched, timings()))
        assert await eventually(lambda: remote.running("KEYw")) == context
        go.set()
        await running
        assert began == [1]
        assert remote.running("KEYw") is None


async def test_inits_and_their_failures_travel(tmp_path) -> None:
    async with near(tmp_path) as (plane, remote, host):
        lines = [LogLine(1, "x" * 1000)] * 20_000

        async def do(spec, call, timings):
            if call.payload == b"fails":
                return InitFailure(payload=b"{}", error_type="E", duration_ms=2.5, logs=lines)
            return Outcome(payload=call.payload, logs=lines)

        host.do, spec = do, plane.deploy("1")
        failed = (await remote.run(spec, call(b"fails"), timings())).outcome
        assert isinstance(failed, InitFailure)
        assert (failed.error_type, failed.duration_ms, failed.payload) == ("E", 2.5, b"{}")
        # A log of any length, too.
        assert len(failed.logs) == 20_000
        ran = (await remote.run(spec, call(b"ran"), timings())).outcome
        assert (ran.payload, [line.text for line in ran.logs]) == (b"ran", [lines[0].text] * 20_000)
        lines[:] = [LogLine(1, "x" * 1_000_000)] * 60
        ran = (await remote.run(spec, call(b"far too long"), timings())).outcome
        assert (len(ran.logs), ran.logs[-1].text) == (51, "(the rest of the log is too long)")


async def test_who_does_not_wait_ends_the_call(tmp_path) -> None:
    async with near(tmp_path) as (plane, remote, host):

        async def do(_spec, call, _timings) -> Outcome:
            await asyncio.Event().wait()

        host.do = do
        waiting = asyncio.ensure_future(
            remote.run(plane.deploy("1"), call(request_id="r"), timings())
        )
        await eventually(lambda: host.calls)
        waiting.cancel()
        await eventually(lambda: host.ended == ["r"])


async def test_what_was_wished_is_told_again_to_a_host_that_comes_back(tmp_path) -> None:
    async with lying(tmp_path) as (_, remote, liar):
        remote.set_phase(Phase.CORDONED)
        await eventually(lambda: liar.heard.count(frames.TELL) == 1)
        remote.leave("for a moment")
        with pytest.raises(HostUnreachable):
            await remote.take_snapshot(None)
        await eventually(lambda: liar.heard.count(frames.TELL) == 2)


async def test_nothing_is_left_of_calls_however_they_end(tmp_path) -> None:
    """Calls that end, fail, are left, are refused, and lose their connection, many at once."""
    chance = random.Random(7)
    async with near(tmp_path) as (plane, remote, host):

        async def do(spec, call, timings) -> Outcome:
            outcome = await host.echo(spec, call, timings)
            if call.sink is not None:
                await call.sink.start("text/plain")
                await call.sink.write(bytes(300_000))
            await asyncio.sleep(int(call.request_id) % 7 / 100)
            if int(call.request_id) % 5 == 0:
                raise SetupFailed("as it is")
            return outcome

        host.do, spec = do, plane.deploy("1")
        context = TraceContext(trace_id="0" * 32, span_id="5" * 16, origin=Origin(), header="")
        ends: Counter[str] = Counter()

        async def one(number: int) -> None:
            client = Client()
            client.let.set()
            about = {
                "request_id": str(number),
                "share": Share("1", 12, 1),
                "context": context,
                "monitored": number % 2 == 0,
                "sink": client if number % 3 == 0 else None,
            }
            payload = bytes(chance.choice([2, 200, 400_000]))
            try:
                async with asyncio.timeout(chance.choice([0.001, 0.02, 10])):
                    run = await remote.run(spec, call(payload, **about), timings())
                assert len(run.outcome.payload) == len(payload)
                ends["ran"] += 1
            except (SandboxError, Throttled, TimeoutError) as error:
                ends[type(error).__name__] += 1

        for turn in range(4):
            await eventually(lambda: remote.alive)
            host.calls.clear()
            many = [asyncio.ensure_future(one(number)) for number in range(60)]
            if turn % 2:
                await eventually(lambda: len(host.calls) > 5)
                remote.leave("as if it were cut")
            await asyncio.gather(*many)
        assert {"ran", "SetupFailed", "TimeoutError", "HostLost", "Throttled"} <= set(ends)
        await eventually(lambda: remote.alive and remote.beat is not None)
        await eventually(lambda: not host.shares().running(), what="no share is taken")
        assert not host.working()
        assert not remote.running("KEY2")
        assert (
            await remote.run(spec, call(b"1", request_id="1"), timings())
        ).outcome.payload == b"1"
