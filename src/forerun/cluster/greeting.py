"""The first frames of a connection to a door: what it is for, and whether it may. Pure.

A greeting is ``length: u32 big-endian`` and so many bytes of msgpack, at most ``GREETING_MAX``: a ``Hello`` one way, then a
``Welcome`` the other. What follows belongs to the kind of the connection.
"""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from forerun.cluster.contract import PROTOCOLS
from forerun.errors import ForerunError, HostUnreachable

GREETING_MAX = 64 * 1024
KINDS = ("calls", "http", "tree", "enrol", "announce", "relay")


class Hello(msgspec.Struct, kw_only=True):
    """What somebody who knocks wants; ``protocols`` are the oldest and the newest wire that it speaks."""

    kind: str
    protocols: tuple[int, int]
    fields: dict[str, Any] = {}


class Welcome(msgspec.Struct, kw_only=True):
    """The door's answer. ``refused`` is a word for programs, empty for a welcome; ``message`` says the same to people."""

    protocol: int = 0
    refused: str = ""
    message: str = ""
    fields: dict[str, Any] = {}


class Refused(HostUnreachable):
    """The other process does not serve this connection; ``code`` says why in a word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Malformed(ForerunError):
    """What came is no greeting."""


_encode = msgspec.msgpack.Encoder().encode
_hellos = msgspec.msgpack.Decoder(Hello)
_welcomes = msgspec.msgpack.Decoder(Welcome)


def pack(greeting: Hello | Welcome) -> bytes:
    """One greeting as bytes. Raises ``Malformed`` for fields that are too long."""
    body = _encode(greeting)
    if len(body) > GREETING_MAX:
        raise Malformed(f"a greeting of {len(body)} bytes; it may have {GREETING_MAX}")
    return len(body).to_bytes(4, "big") + body


def split(buffer: bytes | bytearray) -> tuple[bytes, bytes] | None:
    """The body of a greeting and what came behind it; ``None`` while it is not all there. Raises ``Malformed``."""
    if len(buffer) < 4:
        return None
    size = int.from_bytes(buffer[:4], "big")
    if not 1 <= size <= GREETING_MAX:
        raise Malformed(f"a greeting of {size} bytes; it may have {GREETING_MAX}")
    if len(buffer) < 4 + size:
        return None
    return bytes(buffer[4 : 4 + size]), bytes(buffer[4 + size :])


def read_hello(body: bytes) -> Hello:
    """Raises ``Malformed``."""
    try:
        return _hellos.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed(f"the first frame is no greeting: {error}") from None


def read_welcome(body: bytes) -> Welcome:
    """Raises ``Refused`` for a refusal, ``Malformed``."""
    try:
        welcome = _welcomes.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed(f"the answer is no greeting: {error}") from None
    if welcome.refused:
        raise Refused(welcome.refused, welcome.message or welcome.refused)
    return welcome


def answer(hello: Hello, role: str, served: Mapping[str, Collection[str]]) -> Welcome:
    """What is said to a greeting by who serves these kinds, each to these roles; the role ``""`` has no certificate."""
    roles = served.get(hello.kind)
    if roles is None:
        known = ", ".join(sorted(served)) or "nothing yet"
        return Welcome(
            refused="kind",
            message=f"connections of kind {hello.kind[:40]!r} are not served here, but {known}",
        )
    if role not in roles:
        who = f"the role {role!r}" if role else "who shows no certificate of this cluster"
        return Welcome(
            refused="role", message=f"connections of kind {hello.kind!r} are not for {who}"
        )
    protocol = agreed(hello.protocols)
    if protocol is None:
        return Welcome(
            refused="version",
            message="the protocols {}-{} of yours and {}-{} of ours have none in common: upgrade the older of us".format(
                *hello.protocols, *PROTOCOLS
            ),
        )
    return Welcome(protocol=protocol)


def agreed(theirs: tuple[int, int]) -> int | None:
    """The newest protocol that both speak."""
    newest = min(theirs[1], PROTOCOLS[1])
    return newest if newest >= max(theirs[0], PROTOCOLS[0]) else None
