"""What the kernel tells of connections in other networks, and that nothing it could say is taken for what it is not."""

import os
import socket
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hosts import HostNetwork
from tests.servers import eventually

from forerun.sandbox.connections import (
    Connection,
    Network,
    connections_in,
    messages_in,
    network_of,
    read_connection,
)
from forerun.sandbox.tcp_info import SYN_SENT, read_tcp_info

DELAY_S = 0.05


@pytest.mark.root
@pytest.mark.slow
async def test_connections_of_another_network_are_seen_with_what_happens_to_them() -> None:
    with HostNetwork() as network:
        host, service = network.host("host"), network.host("service")
        network.delay(host, service, DELAY_S)
        inside = host.popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        place = eventually(lambda: entered(inside.pid))
        with service.listen() as listener, host.connect(listener.getsockname()) as sock:
            peer, _ = listener.accept()
            address = listener.getsockname()
            [seen] = await connections_in([place])
            assert (seen.address, seen.port) == address
            assert seen.info.rtt_ms >= DELAY_S * 1000
            assert seen.info.resent == 0

            network.lose(host, service, 0.5)
            sock.setblocking(False)
            for _ in range(200):
                sock.send(b"x" * 1000)
                peer.settimeout(10)
                peer.recv(1000)
                [lossy] = await connections_in([place])
                if lossy.info.resent:
                    break
            assert lossy.identity == seen.identity
            assert 0 < lossy.info.resent < lossy.info.segments

            network.lose(host, service, 0.0)
            network.cut(host, service)
            waiting = host.within(socket.socket)
            waiting.setblocking(False)
            with pytest.raises(BlockingIOError):
                waiting.connect(address)
            found = await connections_in([place])
            assert SYN_SENT in [each.info.state for each in found]
            waiting.close()
            peer.close()
            gone = Network(place.pid, place.number + 1)
            assert await connections_in([gone, Network(2**22, 1)]) == []
        assert inside.stdin is not None
        inside.stdin.close()


def entered(pid: int) -> Network | None:
    """The network of a process, once that is not this one's."""
    own, its = network_of(os.getpid()), network_of(pid)
    return its if own is not None and its is not None and its.number != own.number else None


def told(
    family: int, address: bytes, *, port: int = 443, info: bytes = bytes(168), kind: int = 2
) -> bytes:
    """A message of the kernel's about one connection."""
    head = struct.pack("=BBBB", family, 1, 0, 0)
    ends = struct.pack(">HH", 40000, port) + bytes(16) + address.ljust(16, b"\0")
    rest = struct.pack("=IQ", 0, 77) + bytes(20)
    return head + ends + rest + struct.pack("=HH", 4 + len(info), kind) + info


FOUR, SIX = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("family", "address", "named"),
    [
        (FOUR, "192.0.2.7", "192.0.2.7"),
        (SIX, "2001:db8::7", "2001:db8::7"),
        (SIX, "::ffff:192.0.2.7", "192.0.2.7"),
        (FOUR, "127.0.0.1", None),
        (SIX, "::1", None),
        (SIX, "::ffff:127.0.0.1", None),
        (FOUR, "0.0.0.0", None),
    ],
)
def test_what_leads_out_is_named_by_its_address(
    family: int, address: str, named: str | None
) -> None:
    found = read_connection(told(family, socket.inet_pton(family, address)), 5)
    if named is None:
        assert found is None
    else:
        assert found is not None
        assert (found.identity, found.address, found.port) == ((5, 77), named, 443)


def test_numbers_are_read_from_where_the_kernel_puts_them() -> None:
    info = bytearray(168)
    info[0], info[2] = 1, 4
    struct.pack_into("=I", info, 68, 12_500)
    struct.pack_into("=I", info, 100, 3)
    struct.pack_into("=I", info, 136, 40)
    struct.pack_into("=Q", info, 160, 9_000)
    assert read_tcp_info(bytes(info)) == (1, 4, 12.5, 3, 40, 9000.0)
    assert read_tcp_info(bytes(info[:104])) == (1, 4, 12.5, 3, 0, 0.0)
    assert read_tcp_info(bytes(info[:103])) is None


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading(data: bytes) -> None:
    for body in [data, *(body for _, body in messages_in(data))]:
        found = read_connection(body, 1)
        assert found is None or isinstance(found, Connection)


@given(st.binary(max_size=60), st.integers(0, 3))
def test_attributes_that_lie_end_the_reading(tail: bytes, cut: int) -> None:
    whole = told(FOUR, bytes([192, 0, 2, 7]), kind=9)
    found = read_connection(whole[: len(whole) - cut] + tail, 1)
    assert found is None or found.port == 443
