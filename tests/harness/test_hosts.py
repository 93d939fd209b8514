"""What tests of many machines stand on is tested itself: a harness that delays or cuts nothing would prove anything."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from tests.delays import forwarding
from tests.hosts import Host, HostNetwork
from tests.servers import eventually

ECHO = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("up", flush=True)
while True:
    peer, _ = server.accept()
    peer.send(peer.recv(100))
    peer.close()
"""


def echo(listener: socket.socket) -> None:
    def work() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer, suppress(OSError):
                while data := peer.recv(1000):
                    peer.sendall(data)

    threading.Thread(target=work, daemon=True).start()


def handshake_s(host: Host, address: tuple[str, int]) -> float:
    """The quickest of three: the machine is busy."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        host.connect(address).close()
        took.append(time.monotonic() - began)
    return min(took)


@pytest.mark.root
@pytest.mark.slow
def test_hosts_have_paths_of_their_own_that_are_slow_lossy_or_cut() -> None:
    with HostNetwork(outside=True) as network:
        near, far, service = (network.host(name) for name in ("near", "far", "service"))
        listener = service.listen()
        echo(listener)
        address = listener.getsockname()
        with pytest.raises(OSError):
            near.connect((service.gateway, address[1]), 0.5)

        network.delay(far, service, 0.2)
        assert handshake_s(near, address) < 0.2 <= handshake_s(far, address)
        network.delay(far, service, 0.0)
        network.delay(near, None, 0.2)
        assert handshake_s(far, address) < 0.2 <= handshake_s(near, address)
        network.delay(near, None, 0.0)

        network.cut(near, service)
        with pytest.raises(TimeoutError):
            near.connect(address, 0.3)
        assert handshake_s(far, address) < 5
        network.cut(far)
        with pytest.raises(TimeoutError):
            far.connect(address, 0.3)
        network.heal()
        assert handshake_s(near, address) < 5
        network.lose(near, service, 1.0)
        with pytest.raises(TimeoutError):
            near.connect(address, 0.3)

        process = far.popen(
            [sys.executable, "-c", ECHO, far.address, "9000"], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        with socket.create_connection((far.address, 9000), 5) as outside:
            assert outside.getsockname()[0] == network.outside_address
            outside.send(b"hello")
            assert outside.recv(100) == b"hello"
        namespaces = [host.namespace for host in (near, far, service)]
        listener.close()
        process.stdout.close()
    assert process.poll() is not None
    assert not [name for name in os.listdir("/run/netns") if name in namespaces]


def test_a_proxy_delays_loses_and_cuts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        echo(listener)
        with forwarding(listener.getsockname()) as proxy:
            with socket.create_connection(proxy.address, 5) as client:
                client.settimeout(5)
                assert round_trip_s(client) < 0.3
                proxy.delay(0.2, 0.1)
                assert round_trip_s(client) >= 0.3
                proxy.delay(0.0)
                proxy.cut()
                client.send(b"held")
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.recv(10)
                proxy.heal()
                client.settimeout(5)
                assert client.recv(10) == b"held"
                proxy.reset()
                with pytest.raises(ConnectionResetError):
                    client.recv(10)
            proxy.lose(1.0)
            with (
                pytest.raises(ConnectionResetError),
                socket.create_connection(proxy.address, 5) as lost,
            ):
                lost.recv(10)
            eventually(lambda: proxy.refused == 1)
        listener.shutdown(socket.SHUT_RDWR)


def round_trip_s(client: socket.socket) -> float:
    began = time.monotonic()
    client.send(b"x")
    assert client.recv(10) == b"x"
    return time.monotonic() - began
