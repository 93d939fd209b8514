"""The parts of the room that need no kernel: output, ends, interpreters, control group files, the link."""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.runtime import wire
from forerun.sandbox.cgroups import V1, V2, cpu_settings, memory_settings
from forerun.sandbox.dialogue import read_result
from forerun.sandbox.endings import Exit, exit_reason, exited, read_exit, timed_out, timeout_line
from forerun.sandbox.interpreters import find_pythons
from forerun.sandbox.jail_body import Uids
from forerun.sandbox.link import Link
from forerun.sandbox.output import MAX_BYTES, TRUNCATED, Output


@given(parts=st.lists(st.binary(max_size=40), max_size=20))
def test_lines_do_not_depend_on_how_they_arrive(parts: list[bytes]) -> None:
    whole, pieces = Output(lambda: 7), Output(lambda: 7)
    whole.feed(b"".join(parts))
    for part in parts:
        pieces.feed(part)
    assert pieces.take() == whole.take()
    assert pieces.take() == []


def test_events_keep_their_order_and_newlines() -> None:
    output = Output(lambda: 5)
    output.feed(b"no newline yet")
    output.event(3, "a\nb")
    output.feed(b"after\n\n")
    assert [(line.time_ms, line.text) for line in output.take()] == [
        (5, "no newline yet"),
        (3, "a\nb"),
        (5, "after"),
        (5, ""),
    ]


def test_output_beyond_the_bound_is_dropped_and_said_once() -> None:
    output = Output(lambda: 0)
    for _ in range(3):
        output.feed(b"x" * MAX_BYTES)
        output.feed(b"\n")
    lines = [line.text for line in output.take()]
    assert lines.count(TRUNCATED) == 1
    assert lines[-1] == TRUNCATED
    output.feed(b"again\n")
    assert [line.text for line in output.take()] == ["again"]


@pytest.mark.parametrize(
    ("exit_", "words"),
    [
        (Exit(0), "Runtime exited without providing a reason"),
        (Exit(0x700), "Runtime exited with error: exit status 7"),
        (Exit(9), "Runtime exited with error: signal: killed"),
        (Exit(11), "Runtime exited with error: signal: segmentation fault"),
        (Exit(6), "Runtime exited with error: signal: aborted"),
        (Exit(34), "Runtime exited with error: signal: signal 34"),
        (Exit(0x100, oom=1), "Runtime exited with error: signal: killed"),
    ],
)
def test_ends_are_told_in_the_words_of_aws(exit_: Exit, words: str) -> None:
    assert exit_reason(exit_) == words
    told = json.loads(exited("r1", exit_).payload)
    assert told == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: r1 Error: {words}",
    }


def test_a_timeout_is_told_with_its_limit() -> None:
    assert json.loads(timed_out("r1", 3).payload)["errorMessage"] == (
        "RequestId: r1 Error: Task timed out after 3.00 seconds"
    )
    line = timeout_line("r1", 3, 1.5)
    assert line.text == "1970-01-01T00:00:01.500Z r1 Task timed out after 3.00 seconds"


@pytest.mark.parametrize("body", [b"", b"[]", b"x", b'{"status": "9"}'])
def test_what_a_launcher_cannot_have_said_is_no_crash(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert read_exit(body).status == 0


def test_cpu_follows_memory() -> None:
    assert cpu_settings(1, 128) == {"cpu.shares": "74"}
    assert cpu_settings(1, 1769) == {"cpu.shares": "1024"}
    assert cpu_settings(2, 3538) == {"cpu.weight": "200"}
    assert cpu_settings(2, 10) == {"cpu.weight": "1"}


def test_memory_is_limited_with_its_swap() -> None:
    assert memory_settings(V1, 1) == {
        "memory.limit_in_bytes": "1048576",
        "memory.memsw.limit_in_bytes": "1048576",
    }
    assert memory_settings(V2, 1) == {"memory.max": "1048576", "memory.swap.max": "0"}


@given(steps=st.lists(st.booleans(), max_size=60))
def test_no_user_id_is_given_twice(steps: list[bool]) -> None:
    uids, held = Uids(200_000), []
    for take in steps:
        if take or not held:
            slot = uids.take()
            assert slot not in held
            held.append(slot)
        else:
            uids.give_back(held.pop(0))
    assert all(uids.number(slot) >= 200_000 for slot in held)


def test_interpreters_are_programs_not_scripts(tmp_path: Path) -> None:
    shims, versions = tmp_path / "shims", tmp_path / ".pyenv" / "versions"
    shims.mkdir()
    (shims / "python3.12").write_text("#!/bin/sh\n")
    for version in ("3.12.1", "3.12.10", "3.8.1", "2.7.18"):
        folder = versions / version / "bin"
        folder.mkdir(parents=True)
        name = "python" + ".".join(version.split(".")[:2])
        (folder / name).write_bytes(b"\x7fELF")
    found = find_pythons([shims, tmp_path / "none"], tmp_path)
    assert set(found) == {"python3.12"}
    assert found["python3.12"].program == versions / "3.12.10" / "bin" / "python3.12"
    assert found["python3.12"].prefix == versions / "3.12.10"


class Ends:
    """Both ends of a link."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes, int]] = []
        self.closed = 0
        ours, self.far = socket.socketpair()
        read, self.print = os.pipe()
        self.output = Output(lambda: 0)
        self.link = Link(ours, read, self.output, self.take, self.end)

    def take(self, kind: int, body: bytes, fds: list[int]) -> None:
        self.frames.append((kind, body, len(self.output.take())))
        for fd in fds:
            os.close(fd)

    def end(self) -> None:
        self.closed += 1

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.frames) + self.closed < count:
                await asyncio.sleep(0)

    def close(self) -> None:
        self.link.close()
        self.far.close()
        os.close(self.print)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()
    yield made
    made.close()


async def test_frames_arrive_whole_however_they_are_cut(ends: Ends) -> None:
    stream = wire.pack(16, b"abc") + wire.pack(19, b"") + wire.pack(18, b"z" * 300)
    for byte in stream:
        ends.far.send(bytes([byte]))
        await asyncio.sleep(0)
    await ends.until(3)
    assert [(kind, len(body)) for kind, body, _ in ends.frames] == [(16, 3), (19, 0), (18, 300)]


async def test_what_was_printed_before_a_frame_is_read_before_it(ends: Ends) -> None:
    os.write(ends.print, b"one\ntwo\n")
    ends.far.send(wire.pack(18))
    await ends.until(1)
    assert ends.frames[0][2] == 2


@pytest.mark.parametrize("length", [0, wire.MAX_FRAME + 1, 2**32 - 1])
async def test_an_impossible_length_closes_the_link_once(ends: Ends, length: int) -> None:
    ends.far.send(struct.pack("!I", length) + b"rest")
    await ends.until(1)
    ends.link.finish()
    assert (ends.frames, ends.closed) == ([], 1)
    ends.link.send(b"ignored")


async def test_a_large_frame_waits_for_its_reader(ends: Ends) -> None:
    frame = wire.pack(2, bytes(3_000_000))
    ends.link.send(frame)
    ends.link.send(wire.pack(2, b"last"))
    received = await asyncio.to_thread(read_exactly, ends.far, len(frame) + 9)
    assert received == frame + wire.pack(2, b"last")


def read_exactly(sock: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += sock.recv(65536)
    return received


def result(payload: bytes = b"1", **head: object) -> bytes:
    return wire.pack_headed(wire.RESULT, {"started": 1.0, "ended": 2.0, **head}, payload)[5:]


def test_a_result_is_read_as_it_is() -> None:
    outcome = read_result(result(b"[1]", content_type="text/plain"))
    assert (outcome.payload, outcome.content_type, outcome.error) == (b"[1]", "text/plain", None)
    assert outcome.alive
    assert read_result(result(started=5.0)).ended == 5.0
    outcome = read_result(result(error="My\r\nError" + "x" * 999, exit=1))
    assert (outcome.error, outcome.status, outcome.alive) == ("Unhandled", "error", False)
    assert outcome.error_type is not None
    assert outcome.error_type.startswith("My??Errorx")
    assert len(outcome.error_type) == 256


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0\xffshort",
        result(started=float("nan")),
        result(started=-3.0),
        result(ended=float("inf")),
        result(started="soon"),
        result(content_type="text/plain\r\nset-cookie: a=b"),
        result(content_type=["x"]),
        result(content_type=""),
        result(bytes(7 * 1024 * 1024)),
    ],
)
def test_a_result_that_no_runtime_sends_ends_the_talk(body: bytes) -> None:
    with pytest.raises(wire.WireClosed):
        read_result(body)
