"""The frames between a control plane and an agent, once a connection of kind ``calls`` was let in. Pure.

A frame on the stream::

    +----------------+---------+-------------+---------------+------+---------+
    | length: u32 BE | kind: u8| number: u32 | head size: u32| head | payload |     length counts all behind it
    +----------------+---------+-------------+---------------+------+---------+

``number`` names what the frame belongs to: a call or a question of the side that began it, or a spec. Heads are msgpack. A payload of
more than ``PIECE`` bytes comes in PART frames behind its frame, whose head says how long it is altogether, so that long payloads
leave room for short ones. Fields that a side does not know are ignored, kinds that it does not know as well.
"""

import struct
from collections.abc import Iterator

import msgspec

from forerun.host import SandboxInfo
from forerun.model import (
    Credentials,
    InitFailure,
    InitReport,
    Outcome,
    Phase,
    SandboxSpec,
    Share,
    Standby,
    StartType,
)

# From the control plane.
SPEC, CALL, CANCEL, CREDIT, ECHO, ASK, TELL, GIVEN = 1, 2, 3, 4, 5, 6, 7, 8
# From the agent.
RESULT, FAILED, BEGAN, STREAM, CHUNK, BEAT, WANT, DATAGRAM, ANSWER = range(17, 26)
# Both ways: the rest of a payload.
PART = 15

PIECE = 128 * 1024
KEYS_MAX = 1000
FRAME_MAX = 8 * 1024 * 1024
PAYLOAD_MAX = 64 * 1024 * 1024

_PREFIX = struct.Struct("!IBII")
_PREFIX_SIZE = _PREFIX.size
_BEHIND_LENGTH = _PREFIX_SIZE - 4


class WireBroken(Exception):
    """The other side sent what is no frame, or not what the protocol allows."""


class CallHead(msgspec.Struct, array_like=True):
    """CALL: the payload follows. ``spec`` is the number of a SPEC frame of this connection.

    ``size`` is the payload's length; ``left_ms`` until the deadline, 0 when the host shall set it. ``streams``: the caller takes a
    streamed response; ``watched``: it wants to hear that the handler begins; ``monitored`` and the rest as ``Call``.
    """

    spec: int
    size: int
    request_id: str
    invoked_arn: str
    left_ms: int = 0
    trace_id: str = ""
    client_context: str | None = None
    monitored: bool = False
    tracestate: str = ""
    baggage: str = ""
    streams: bool = False
    watched: bool = False
    share: Share | None = None
    wait_s: float | None = None
    idle_only: bool = False


class Moments(msgspec.Struct, array_like=True):
    """When what happened on the host, by its own clock, in epoch seconds."""

    received: float
    acquired: float
    loaded: float
    started: float
    ended: float
    replied: float


class ResultHead(msgspec.Struct, array_like=True):
    """RESULT: a ``Run``, its payload behind it, and behind that its log. One of ``outcome`` and ``failure`` is there, without either.

    ``size`` is the length of both, ``body`` that of the payload.
    """

    size: int
    moments: Moments
    start_type: StartType
    sandbox_id: str
    isolation: str
    placement: str
    log_stream: str
    foresight: str
    cause: str
    idle_mb_s: float
    provisioned: bool
    init: InitReport | None
    outcome: Outcome | None
    failure: InitFailure | None
    body: int


class FailedHead(msgspec.Struct, array_like=True):
    """FAILED, and ANSWER to what could not be done: which error, its sentence, and what else its class has.

    ``begun``: the handler may have run.
    """

    error: str
    message: str
    reason: str = ""
    after_s: float = 0.0
    begun: bool = False


class EchoHead(msgspec.Struct, array_like=True):
    """ECHO: the answer to a beat. ``sent`` is the beat's own; without ``renew`` the lease is not prolonged."""

    sequence: int
    sent: float
    renew: bool


class StreamHead(msgspec.Struct, array_like=True):
    """STREAM: a streamed response begins; its pieces follow in CHUNK frames."""

    content_type: str


class CreditHead(msgspec.Struct, array_like=True):
    """CREDIT: so many bytes of a streamed response were taken; ``left``: the client takes no more."""

    taken: int
    left: bool = False


class BeganHead(msgspec.Struct, array_like=True):
    """BEGAN: the handler is about to run, in a sandbox with these credentials."""

    access_key_id: str


class AnswerHead(msgspec.Struct, kw_only=True):
    """ANSWER: what came of an ASK, by its verb."""

    failure: FailedHead | None = None
    kept: dict[str, int] = {}
    sandboxes: list[SandboxInfo] = []


class AskHead(msgspec.Struct, kw_only=True):
    """ASK (answered by ANSWER) and TELL (not answered): a verb of ``Host``; a field for what each of them needs."""

    verb: str
    spec: int = 0
    standby: Standby | None = None
    runtime: str = ""
    floor: int = 0
    borrow: bool = True
    keys: list[str] = []
    phase: Phase | None = None
    shares: list[Share] = []
    services: list[str] = []


class WantHead(msgspec.Struct, kw_only=True):
    """WANT (answered by GIVEN): ``credentials`` for a new sandbox of a spec, or where to find the tree ``digest``."""

    what: str
    spec: int = 0
    digest: str = ""


class TreeSource(msgspec.Struct, array_like=True):
    """A process that has a tree; ``name`` and ``role`` are those of its certificate."""

    address: str
    name: str
    role: str


class TreeLead(msgspec.Struct, kw_only=True):
    """Where to find a tree, and what it must be: the hash (hexadecimal SHA-256) of its manifest, bytes of all its files."""

    manifest: str
    size: int
    sources: list[TreeSource] = []


class GivenHead(msgspec.Struct, kw_only=True):
    """GIVEN: what was wanted, or why not."""

    credentials: Credentials | None = None
    lead: TreeLead | None = None
    failure: FailedHead | None = None


class DatagramHead(msgspec.Struct, array_like=True):
    """DATAGRAM: what a function sent to X-Ray's daemon is behind it."""

    account: str
    region: str
    name: str


class SpecHead(msgspec.Struct, array_like=True):
    """SPEC: paths of trees are digests in it."""

    spec: SandboxSpec


encode = msgspec.msgpack.Encoder().encode


def pack(kind: int, number: int, head: bytes = b"", payload: bytes | memoryview = b"") -> bytes:
    """One frame; the payload has at most ``PIECE`` bytes."""
    size = len(head)
    prefix = _PREFIX.pack(_BEHIND_LENGTH + size + len(payload), kind, number, size)
    return b"".join((prefix, head, payload))


Frame = tuple[int, int, bytes, bytes]
"""Kind, number, head, payload."""


class Splitter:
    """Finds the frames in what is received. Raises ``WireBroken`` for what has no frame's length."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with this. What comes later is fed when these were taken."""
        held = self._buffer
        if held:
            held += data
            source: bytes | bytearray = held
        else:
            source = data
        at, end = 0, len(source)
        try:
            while end - at >= 4:
                length = int.from_bytes(source[at : at + 4], "big")
                if not _BEHIND_LENGTH <= length <= FRAME_MAX:
                    raise WireBroken(f"a frame of {length} bytes")
                behind = at + 4 + length
                if behind > end:
                    break
                _, kind, number, size = _PREFIX.unpack_from(source, at)
                head = at + _PREFIX_SIZE
                if head + size > behind:
                    raise WireBroken(f"a head of {size} bytes in a frame of {length}")
                at = behind
                yield (
                    kind,
                    number,
                    bytes(source[head : head + size]),
                    bytes(source[head + size : behind]),
                )
        finally:
            if source is held:
                del held[:at]
            elif at < end:
                held += data[at:]
