"""Machines of a cluster on this one: network namespaces with addresses of their own, whose paths can be made slow, lossy or cut.

    with HostNetwork() as network:
        near, far = network.host("near"), network.host("far")
        service = far.listen(8080)                       # a socket in far's network, for this process
        process = near.popen([sys.executable, "-c", ...])  # a process in near's network
        network.delay(near, far, 0.050)                  # round trips take so much longer, handshakes too
        network.cut(near, far); network.heal()

Every host has a link to a router in the middle; nothing of it touches the machine's own network unless ``outside=True``,
which gives this process's network a way to the hosts. Files, users and control groups are the machine's. Needs root, ``ip`` and ``nft``.
Namespaces are named by this process and go with it, or when the next network is made after it has died.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from tests.packets import Carrier, Way, open_tun

from forerun.runtime import syscalls

T = TypeVar("T")
_PREFIX = "frt"
_NAMED = Path("/run/netns")
_COMMAND_S = 20.0
_RULES = """
table ip cuts {
    set pairs { type ipv4_addr . ipv4_addr; }
    set alone { type ipv4_addr; }
    chain forward {
        type filter hook forward priority 0; policy accept;
        ip saddr . ip daddr @pairs drop
        ip saddr @alone drop
        ip daddr @alone drop
    }
}
"""


def needs_hosts() -> None:
    """Skip the test where hosts cannot be made."""
    if os.geteuid() != 0 or not all(shutil.which(name) for name in ("ip", "nft", "nsenter")):
        pytest.skip("needs root, ip and nft (apt-get install iproute2 nftables)")
    if not os.access("/dev/net/tun", os.W_OK):
        pytest.skip("needs /dev/net/tun")


class Host:
    """One machine. ``address`` is how others reach it; ``namespace`` its name for ``ip netns``."""

    def __init__(self, name: str, namespace: str, address: str, gateway: str) -> None:
        self.name = name
        self.namespace = namespace
        self.address = address
        self.gateway = gateway
        self.running: list[subprocess.Popen[Any]] = []

    def command(self, arguments: Sequence[str | os.PathLike[str]]) -> list[str]:
        """What runs ``arguments`` here; it becomes that process, so its id is the process's own."""
        return ["nsenter", f"--net={_NAMED / self.namespace}", "--", *map(os.fspath, arguments)]

    def popen(
        self, arguments: Sequence[str | os.PathLike[str]], **how: Any
    ) -> "subprocess.Popen[Any]":
        """A process here; it is killed with the network at the latest."""
        process = subprocess.Popen(self.command(arguments), **how)
        self.running.append(process)
        return process

    def run(self, arguments: Sequence[str | os.PathLike[str]], text: str = "") -> str:
        """What a command prints that must succeed."""
        return _run(self.command(arguments), text)

    def enter(self) -> None:
        """Move this thread here for good: for threads of one's own."""
        with (_NAMED / self.namespace).open("rb") as file:
            syscalls.setns(file.fileno(), syscalls.CLONE_NEWNET)

    def within(self, function: Callable[[], T]) -> T:
        """What ``function`` returns when it is called here, in a thread; sockets that it makes stay here."""
        results: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                self.enter()
                results.append(function())
            except BaseException as error:  # noqa: BLE001 raised by who asked
                errors.append(error)

        thread = threading.Thread(target=work, name=f"within {self.name}")
        thread.start()
        thread.join(_COMMAND_S)
        if errors:
            raise errors[0]
        return results[0]

    def listen(self, port: int = 0) -> socket.socket:
        """A listening socket at ``address``."""
        return self.within(lambda: socket.create_server((self.address, port)))

    def connect(self, address: tuple[str, int], timeout_s: float = 5.0) -> socket.socket:
        """A connection from here."""
        return self.within(lambda: socket.create_connection(address, timeout_s))

    def end(self) -> None:
        """Kill what runs here by ``popen``: the machine lost its power."""
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait(_COMMAND_S)
        self.running.clear()


class HostNetwork:
    """Hosts and the paths between them; a context manager. With ``outside`` this process reaches them, from ``outside_address``."""

    def __init__(self, *, outside: bool = False, seed: int = 0) -> None:
        needs_hosts()
        _sweep()
        self._prefix = f"{_PREFIX}{os.getpid()}-"
        self._claim, self._net = _claim_net()
        self._router = f"{self._prefix}router{self._net}"
        self.hosts: list[Host] = []
        self._ways: dict[Host, Way] = {}
        self._carrier: Carrier | None = None
        self._seed = seed
        self.outside_address = self._link = ""
        _run(["ip", "netns", "add", self._router])
        try:
            self._open(outside)
        except BaseException:
            self.close()
            raise

    def _open(self, outside: bool) -> None:
        _prepare(self._router)
        _run([*_in(self._router), "nft", "-f", "-"], _RULES)
        if not outside:
            return
        link, self.outside_address = f"{_PREFIX}{os.getpid()}o{self._net}", f"10.{self._net}.255.2"
        self._link = link
        gateway = f"10.{self._net}.255.1"
        _ip(f"link add {link} type veth peer name outside netns {self._router}")
        _ip(f"addr add {gateway}/30 dev outside\nlink set outside up", self._router)
        _ip(f"addr add {self.outside_address}/30 dev {link}\nlink set {link} up")
        # That of a network that is being removed may still be there.
        _ip(f"route replace 10.{self._net}.0.0/16 via {gateway} src {self.outside_address}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def host(self, name: str) -> Host:
        """Another machine, at most 250."""
        number = len(self.hosts) + 1
        namespace = f"{self._prefix}{self._net}-{name}"
        network = f"10.{self._net}.{number}"
        host = Host(name, namespace, f"{network}.2", f"{network}.1")
        _run(["ip", "netns", "add", namespace])
        self.hosts.append(host)
        _prepare(namespace)
        _ip(f"link add h{number} type veth peer name eth0 netns {namespace}", self._router)
        _ip(f"addr add {host.gateway}/30 dev h{number}\nlink set h{number} up", self._router)
        _ip(
            f"addr add {host.address}/30 dev eth0\nlink set eth0 up\nroute add default via {host.gateway}",
            namespace,
        )
        return host

    def delay(self, sender: Host, to: Host | None, seconds: float) -> None:
        """What ``sender`` sends to a host (``None``: to all others) arrives later by so much; 0 ends it."""
        self._way(sender).path(to.address if to else "").delay_s = seconds

    def lose(self, sender: Host, to: Host | None, share: float) -> None:
        """So much of what ``sender`` sends to a host (``None``: to all others) is lost; 0 ends it."""
        self._way(sender).path(to.address if to else "").loss = share

    def _way(self, host: Host) -> Way:
        way = self._ways.get(host)
        if way is not None:
            return way
        name = f"slow{self.hosts.index(host) + 1}"
        near = host.within(lambda: open_tun("slow0"))
        far = _within(self._router, lambda: open_tun(name))
        _ip(f"link set {name} up", self._router)
        _ip(
            f"addr add {host.address}/32 dev slow0\nlink set slow0 mtu 1500 up\n"
            f"route replace default dev slow0 src {host.address}",
            host.namespace,
        )
        way = self._ways[host] = Way(near, far)
        if self._carrier is None:
            self._carrier = Carrier(self._seed)
        self._carrier.add(way)
        return way

    def cut(self, one: Host, other: Host | None = None, *, both: bool = True) -> None:
        """Let nothing through from one host to the other (``None``: to and from anybody), and say nothing; back neither if ``both``."""
        if other is None:
            self._rule(f"add element ip cuts alone {{ {one.address} }}")
            return
        self._rule(f"add element ip cuts pairs {{ {one.address} . {other.address} }}")
        if both:
            self._rule(f"add element ip cuts pairs {{ {other.address} . {one.address} }}")

    def heal(self) -> None:
        """End all cuts; delays and losses stay."""
        self._rule("flush set ip cuts alone\nflush set ip cuts pairs")

    def _rule(self, text: str) -> None:
        _run([*_in(self._router), "nft", "-f", "-"], text)

    def close(self) -> None:
        """Kill what runs on the hosts, and remove them."""
        for host in self.hosts:
            host.end()
        if self._carrier is not None:
            self._carrier.close()
        if self._link:
            subprocess.run(["ip", "link", "del", self._link], check=False, capture_output=True)
        for namespace in [*(host.namespace for host in self.hosts), self._router]:
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)
        self._claim.close()


def _in(namespace: str) -> list[str]:
    return ["nsenter", f"--net={_NAMED / namespace}", "--"]


def _within(namespace: str, function: Callable[[], T]) -> T:
    return Host("", namespace, "", "").within(function)


def _ip(text: str, namespace: str = "") -> None:
    _run([*(_in(namespace) if namespace else []), "ip", "-batch", "-"], text + "\n")


def _run(arguments: Sequence[str], text: str = "") -> str:
    ran = subprocess.run(
        arguments, input=text, capture_output=True, text=True, timeout=_COMMAND_S, check=False
    )
    assert ran.returncode == 0, f"{' '.join(arguments)}: {ran.stderr}"
    return ran.stdout


def _prepare(namespace: str) -> None:
    def prepare() -> None:
        settings = Path("/proc/sys/net/ipv4")
        (settings / "ip_forward").write_text("1")
        for which in ("all", "default"):
            # Packets that come another way than those back go.
            (settings / "conf" / which / "rp_filter").write_text("0")

    _within(namespace, prepare)
    _ip("link set lo up", namespace)


def _claim_net() -> tuple[socket.socket, int]:
    """A part of 10.0.0.0/8 that no other process's hosts have, for as long as the socket is open."""
    for number in range(64, 127):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0forerun-hosts-{number}")
        except OSError:
            claim.close()
        else:
            return claim, number
    raise AssertionError("all networks for hosts are in use")


def _sweep() -> None:
    """Remove the hosts of processes that are gone."""
    for path in _NAMED.glob(f"{_PREFIX}*"):
        found = re.match(rf"{_PREFIX}(\d+)-", path.name)
        if found and not Path("/proc", found[1]).exists():
            _end_all(path)
            subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)


def _end_all(network: Path) -> None:
    """Kill what still runs in a network whose owner was killed."""
    try:
        inode = network.stat().st_ino
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if (entry / "ns" / "net").stat().st_ino == inode:
                        os.kill(int(entry.name), signal.SIGKILL)
    except OSError:
        # Another run sweeps, too.
        return
