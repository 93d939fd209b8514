"""The connections inside sandboxes' networks as the kernel sees them, whoever opened them: asked by ``sock_diag`` from outside.

A thread enters each network in turn, asks, and ends with the last: no other thread is ever in a network that is not its own, and
nothing runs inside of the sandbox. Not seen is a connection that was opened and closed between two looks.
"""

import asyncio
import ipaddress
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from forerun.runtime import syscalls
from forerun.sandbox.tcp_info import TcpInfo, read_tcp_info

MOST_NETWORKS = 64
MOST_CONNECTIONS = 64
_WAIT_S = 0.5
_BYTES = 65536
_NETLINK_SOCK_DIAG, _BY_FAMILY, _DONE, _ERROR = 4, 20, 3, 2
_REQUEST_DUMP = 0x301
# Those that carry something, or try to: ESTABLISHED, SYN_SENT, FIN_WAIT1, CLOSE_WAIT, LAST_ACK, CLOSING.
_STATES = sum(1 << state for state in (1, 2, 4, 8, 9, 11))
_INFO = 2
_HEAD, _MESSAGE, _ATTRIBUTE = struct.Struct("=IHHII"), 72, struct.Struct("=HH")
_PORT = struct.Struct(">H")
_COOKIE = struct.Struct("=Q")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class Connection(NamedTuple):
    """One connection of one sandbox. ``identity`` is its own among all of this machine; ``address`` is the other end's."""

    identity: tuple[int, int]
    address: str
    port: int
    info: TcpInfo


class Network(NamedTuple):
    """The network of a sandbox: a process in it, and the number of its namespace, by which it is known again."""

    pid: int
    number: int


def network_of(pid: int) -> Network | None:
    """The network that a process is in; ``None`` when it is gone."""
    with suppress(OSError):
        return Network(pid, os.stat(f"/proc/{pid}/ns/net").st_ino)  # noqa: PTH116 no path of files
    return None


async def connections_in(networks: Sequence[Network]) -> list[Connection]:
    """What leads out of them; networks that are gone have none. At most ``MOST_CONNECTIONS`` of each."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[Connection]] = loop.create_future()

    def finish(found: list[Connection]) -> None:
        if not done.done():
            done.set_result(found)

    def work() -> None:
        found: list[Connection] = []
        try:
            for network in networks[:MOST_NETWORKS]:
                with suppress(OSError, ValueError, struct.error):
                    found += _look(network)
        finally:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(finish, found)

    if not networks:
        return []
    threading.Thread(target=work, name="connections", daemon=True).start()
    return await done


def _look(network: Network) -> list[Connection]:
    with open(f"/proc/{network.pid}/ns/net", "rb") as file:  # noqa: PTH123 no path of files
        if os.fstat(file.fileno()).st_ino != network.number:
            return []
        syscalls.setns(file.fileno(), syscalls.CLONE_NEWNET)
    found: list[Connection] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as asked:
        asked.settimeout(_WAIT_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            asked.send(_question(family))
            found += _answers(asked, network.number)
            if len(found) >= MOST_CONNECTIONS:
                # What is still to come is not read: the socket ends here.
                return found[:MOST_CONNECTIONS]
    return found


def _question(family: int) -> bytes:
    body = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, _STATES)
    return _HEAD.pack(_HEAD.size + len(body), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + body


def _answers(asked: socket.socket, number: int) -> list[Connection]:
    found: list[Connection] = []
    while len(found) < MOST_CONNECTIONS:
        for kind, body in messages_in(asked.recv(_BYTES)):
            if kind in (_DONE, _ERROR):
                return found
            connection = read_connection(body, number) if kind == _BY_FAMILY else None
            if connection is not None:
                found.append(connection)
    return found


def messages_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each message that netlink sent together (pure)."""
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, kind, _, _, _ = _HEAD.unpack_from(data, offset)
        if length < _HEAD.size:
            return
        yield kind, data[offset + _HEAD.size : offset + length]
        offset += (length + 3) & ~3


def read_connection(body: bytes, number: int) -> Connection | None:
    """The connection of an ``inet_diag_msg`` (pure); ``None`` for one that stays inside, or of which nothing is told."""
    if len(body) < _MESSAGE:
        return None
    packed = body[24:28] if body[0] == socket.AF_INET else body[24:40]
    address = ipaddress.ip_address(packed)
    if isinstance(address, ipaddress.IPv6Address) and address in _MAPPED:
        address = ipaddress.ip_address(packed[12:])
    if address.is_loopback or address.is_unspecified:
        return None
    port: int = _PORT.unpack_from(body, 6)[0]
    cookie: int = _COOKIE.unpack_from(body, 44)[0]
    offset = _MESSAGE
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size:
            return None
        if kind == _INFO:
            info = read_tcp_info(body[offset + _ATTRIBUTE.size : offset + length])
            return info and Connection((number, cookie), str(address), port, info)
        offset += (length + 3) & ~3
    return None
