"""Frames of noise, and frames that are nearly right, at both ends of the wire: nothing but the connection ends of it."""

import asyncio
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agents import call
from tests.unit.cluster.near import DoingHost, stats

from forerun.aio import SystemClock, TaskOwner
from forerun.cluster import Here, Knocker, Shares, frames
from forerun.cluster.attending import Attending
from forerun.cluster.flight import Flight
from forerun.cluster.frames import pack
from forerun.cluster.session import Session
from forerun.cluster.verbs import Place


def packed(value: Any) -> bytes:
    """As msgpack, with what is no text where that one character stands."""
    return msgspec.msgpack.encode(value).replace("\ue000".encode(), b"\xff\xfe\xfd")


NUMBERS = st.sampled_from([0, 1, 2, 3, 2**32 - 1])
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=12)
    | st.binary(max_size=12)
    | st.just("\ue000")
    | st.sampled_from(
        ["credentials", "tree", "a" * 64, "keep_to", "stand_by", "phase", "drop", "expel"]
    )
)
HEADS = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=15) | st.dictionaries(st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=25,
).map(packed) | st.binary(max_size=40)
WORDS = st.fixed_dictionaries(
    {},
    optional={
        "what": PLAIN,
        "verb": PLAIN,
        "spec": PLAIN,
        "digest": PLAIN,
        "keys": st.lists(PLAIN, max_size=3),
        "shares": st.lists(PLAIN, max_size=3),
        "sequence": PLAIN,
        "sent": PLAIN,
        "whole": PLAIN,
        "stats": st.just(msgspec.to_builtins(stats())) | PLAIN,
        "idle": st.dictionaries(st.text(max_size=3), PLAIN, max_size=3),
    },
).map(packed)


def told(*kinds: int) -> Any:
    frame = st.builds(
        pack,
        st.sampled_from([*kinds, frames.PART, 99]),
        NUMBERS,
        HEADS | WORDS,
        st.binary(max_size=40),
    )
    return st.lists(frame, max_size=6)


class Wire:
    """A transport that takes everything."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)

    def abort(self) -> None: ...

    def set_write_buffer_limits(self, **_: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


class Nothing:
    """A giver that has nothing."""

    async def give(self, *_: object) -> frames.GivenHead:
        return frames.GivenHead()

    def take_datagram(self, *_: object) -> None: ...


async def fed(link: Any, sent: list[bytes], reasons: list[str]) -> None:
    link.connection_made(Wire())
    for frame in sent:
        link.data_received(frame)
        await asyncio.sleep(0)
    link.end("over")
    assert len(reasons) == 1
    assert "could not be handled" not in reasons[0]


@given(told(*range(17, 26)))
@settings(deadline=None, max_examples=150)
def test_a_control_plane_bears_whatever_a_host_sends(sent) -> None:
    async def main() -> None:
        reasons: list[str] = []
        session = Session(
            "host-1",
            clock=SystemClock(),
            lease_s=1.0,
            giver=Nothing(),
            renew=lambda: True,
            on_beat=lambda _session, _beat: None,
            on_end=lambda _session, reason: reasons.append(reason),
        )
        flight = Flight(call(), 1e12)
        session._flights[1] = flight
        await fed(session.link, sent, reasons)
        assert flight.landed.done()
        await session.close()

    asyncio.run(main())


@given(told(*range(1, 9)))
@settings(deadline=None, max_examples=150)
def test_a_host_bears_whatever_a_control_plane_sends(sent) -> None:
    async def main() -> None:
        reasons: list[str] = []
        clock, owner = SystemClock(), TaskOwner("noise")
        here = Here(lambda digest: f"/trees/{digest}", Knocker(None), clock)
        place = Place(
            host=DoingHost(clock),  # type: ignore[arg-type]
            here=here,
            clock=clock,
            owner=owner,
            accepts=lambda: True,
            set_phase=_ignore,
            measure=_ignore,
            heard=_ignore,
            expel=_ignore,
            shares=Shares(),
            announce_all=False,
        )
        attending = Attending(
            place,
            "control-1",
            address="",
            lease_s=1.0,
            on_end=lambda _, reason: reasons.append(reason),
        )
        await fed(attending.link, sent, reasons)
        await owner.close()
        await here.close()

    asyncio.run(main())


def _ignore(_: Any) -> None:
    return None
