"""Frames on a stream, and links that carry them: whatever the pieces in which they come."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agents import eventually

from forerun.cluster import frames
from forerun.cluster.frames import FRAME_MAX, PIECE, Splitter, WireBroken, pack
from forerun.cluster.link import Link

SIZED = 9


@given(
    st.lists(
        st.tuples(
            st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=40), st.binary()
        ),
        max_size=8,
    ),
    st.lists(st.integers(1, 30), min_size=1, max_size=50),
)
def test_frames_come_whole_in_whatever_pieces(told, sizes) -> None:
    stream = b"".join(pack(*frame) for frame in told)
    splitter, found, at = Splitter(), [], 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        found += splitter.feed(stream[at : at + size])
        at += size
    assert found == told


@pytest.mark.parametrize(
    "stream",
    [
        b"\0\0\0\1\0\0\0\0\0\0\0\0\0",
        (FRAME_MAX + 1).to_bytes(4, "big"),
        b"\0\0\0\x09\1\0\0\0\1\0\0\0\5",
    ],
    ids=["short", "long", "head-too-long"],
)
def test_what_is_no_frame_breaks_the_wire(stream) -> None:
    with pytest.raises(WireBroken):
        list(Splitter().feed(stream))


class End:
    """One end of a link, and what has come to it; of numbers from 100 on nobody waits for anything."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int, int]] = []
        self.lost: list[str] = []
        takers = {
            kind: lambda number, head, payload, kind=kind: self.taken.append(
                (kind, number, len(payload))
            )
            for kind in (1, SIZED)
        }
        self.link = Link(takers, self.lost.append, {SIZED: int}, lambda number: number < 100)


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[End, End]]:
    one, other, loop = End(), End(), asyncio.get_running_loop()
    for end, sock in zip((one, other), socket.socketpair(), strict=True):
        await loop.create_connection(lambda end=end: end.link, sock=sock)
    yield one, other
    one.link.end("over")
    other.link.end("over")
    await asyncio.sleep(0)


def sized(link: Link, number: int, payload: bytes) -> None:
    assert link.send(SIZED, number, str(len(payload)).encode(), payload)


async def test_long_payloads_share_the_way() -> None:
    async with linked() as (one, other):
        sized(one.link, 1, os.urandom(3 * 2**20))
        sized(one.link, 2, bytes(2**20))
        sized(one.link, 3, bytes(PIECE))
        one.link.send(1, 4, b"", b"short")
        await eventually(lambda: len(other.taken) == 4)
        assert sorted(other.taken) == [
            (1, 4, 5),
            (SIZED, 1, 3 * 2**20),
            (SIZED, 2, 2**20),
            (SIZED, 3, PIECE),
        ]
        assert other.taken[-1] == (SIZED, 1, 3 * 2**20)


async def test_what_is_withdrawn_is_not_sent_and_its_number_can_be_dropped() -> None:
    async with linked() as (one, other):
        sized(one.link, 1, bytes(8 * 2**20))
        one.link.withdraw(1)
        one.link.send(1, 2)
        await eventually(lambda: other.taken)
        assert other.link.drop(1)
        assert not other.link.drop(1)
        sized(one.link, 1, bytes(2**20))
        await eventually(lambda: len(other.taken) == 2)
        assert other.taken == [(1, 2, 0), (SIZED, 1, 2**20)]


async def test_nothing_is_kept_of_what_nobody_waits_for() -> None:
    async with linked() as (one, other):
        sized(one.link, 100, bytes(8 * 2**20))
        sized(one.link, 1, bytes(2**20))
        await eventually(lambda: other.taken)
        assert (other.taken, other.lost) == ([(SIZED, 1, 2**20)], [])
        assert not other.link.drop(100)


async def test_kinds_of_a_newer_side_are_ignored() -> None:
    async with linked() as (one, other):
        one.link.send(77, 1, b"new", b"new")
        one.link.send(1, 2)
        await eventually(lambda: other.taken)
        assert (other.taken, other.lost) == ([(1, 2, 0)], [])


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (pack(SIZED, 1, b"200000000", bytes(PIECE)), b""),
        (pack(SIZED, 1, b"nonsense", bytes(PIECE)), b""),
        (pack(SIZED, 1, str(PIECE + 1).encode(), bytes(PIECE)), pack(frames.PART, 1, b"", b"xx")),
        (pack(SIZED, 1, str(PIECE + 1).encode(), bytes(PIECE)), pack(frames.PART, 1)),
        (b"\xff" * 20, b""),
    ],
    ids=["too-long", "no-size", "longer-than-said", "part-of-nothing", "noise"],
)
async def test_who_breaks_the_protocol_is_dropped(first, then) -> None:
    end, (near, far) = End(), socket.socketpair()
    await asyncio.get_running_loop().create_connection(lambda: end.link, sock=near)
    far.sendall(first + then)
    await eventually(lambda: end.lost)
    assert (end.taken, end.link.closed) == ([], True)
    assert not end.link.send(1, 1)
    await asyncio.sleep(0)
    far.close()
