"""Open egress: a way out of a sandbox's own network for functions that ask for it.

Each such sandbox gets a pair of virtual interfaces and a /30 of its own from 100.96.0.0/12; what leaves is masqueraded
as the host. Refused are the host itself (every address it has), other sandboxes, and link-local addresses, where
clouds keep their machine's credentials. The kernel removes the pair with the sandbox's network. One nftables table of
this server holds the rules; a table left by a killed server is removed by the next one.

Needs root, ``ip``, ``nft``, and forwarding switched on by the machine's owner: a server that silently makes its host
a router would be a surprise.
"""

import asyncio
import contextlib
import ipaddress
import os
import re
import shutil
from pathlib import Path

from forerun.aio import given
from forerun.errors import SetupFailed
from forerun.sandbox.connections import (
    MOST_NETWORKS,
    Connection,
    Network,
    connections_in,
    network_of,
)

_COMMAND_S = 10.0
_NET = ipaddress.IPv4Network("100.96.0.0/12")
_BLOCKS = _NET.num_addresses // 4
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin"
_TABLE = re.compile(r"table inet forerun_(\d+)")
_NAME_MAX = 10**5


def why_closed() -> str | None:
    """``None`` when egress can be opened here, else what to do for it."""
    if os.geteuid() != 0:
        return "Open egress needs root."
    missing = [name for name in ("ip", "nft", "nsenter") if _find(name) is None]
    if missing:
        return (
            f"Open egress needs {', '.join(missing)}: apt-get install iproute2 nftables util-linux"
        )
    try:
        if _FORWARDING.read_text(encoding="ascii").strip() == "1":
            return None
    except OSError:
        pass
    return "Open egress needs forwarding: sysctl -w net.ipv4.ip_forward=1"


def rules(table: str, prefix: str) -> str:
    """The nftables table for interfaces whose names begin with ``prefix`` (pure)."""
    ours = f'"{prefix}*"'
    return f"""
table inet {table} {{
    chain host {{
        type filter hook input priority -10; policy accept;
        iifname {ours} ct state established,related accept
        iifname {ours} drop
    }}
    chain through {{
        type filter hook forward priority -10; policy accept;
        iifname {ours} oifname {ours} drop
        iifname {ours} ip daddr {{ 127.0.0.0/8, 169.254.0.0/16, {_NET} }} drop
        oifname {ours} ct state new drop
    }}
    chain out {{
        type nat hook postrouting priority 100; policy accept;
        ip saddr {_NET} oifname != {ours} masquerade
    }}
}}
"""


def addresses(number: int) -> tuple[str, str]:
    """The addresses of the host's and the sandbox's end of link ``number`` (pure)."""
    first = int(_NET.network_address) + number % _BLOCKS * 4
    return str(ipaddress.IPv4Address(first + 1)), str(ipaddress.IPv4Address(first + 2))


class OpenNetwork:
    """The rules and links of one server; nothing is made before the first sandbox asks."""

    def __init__(self) -> None:
        self._table = f"forerun_{os.getpid()}"
        self._prefix = f"fr{os.getpid()}-"
        self._number = 0
        self._lock = asyncio.Lock()
        self._loaded = False
        self._connected: dict[int, Network] = {}

    async def connect(self, pid: int) -> None:
        """Give the network of process ``pid`` a way out. Raises ``SetupFailed`` saying what is missing."""
        if (reason := why_closed()) is not None:
            raise SetupFailed(reason)
        async with self._lock:
            if not self._loaded:
                await self._sweep()
                await _run("nft", "-f", "-", text=rules(self._table, self._prefix))
                self._loaded = True
        self._number += 1
        name = f"{self._prefix}{self._number % _NAME_MAX}"
        outer, inner = addresses(self._number)
        await _run(
            "ip",
            "-batch",
            "-",
            text=(
                f"link add {name} type veth peer name eth0 netns {pid}\n"
                f"addr add {outer}/30 dev {name}\n"
                f"link set {name} up\n"
            ),
        )
        await _run(
            "nsenter",
            f"--net=/proc/{pid}/ns/net",
            str(_find("ip")),
            "-batch",
            "-",
            text=(
                f"addr add {inner}/30 dev eth0\nlink set eth0 up\nroute add default via {outer}\n"
            ),
        )
        if (network := network_of(pid)) is not None:
            self._connected[pid] = network

    def forget(self, pid: int) -> None:
        """The process has ended, and its network with it."""
        self._connected.pop(pid, None)

    async def connections(self) -> list[Connection]:
        """The connections that lead out of some of these networks now; the next call looks at others, if there are more."""
        looked_at = [
            self._connected.setdefault(pid, self._connected.pop(pid))
            for pid in list(self._connected)[:MOST_NETWORKS]
        ]
        return await connections_in(looked_at)

    async def close(self) -> None:
        """Remove the rules."""
        if self._loaded:
            self._loaded = False
            await _run("nft", "delete", "table", "inet", self._table)

    async def _sweep(self) -> None:
        """Remove tables of servers that are gone."""
        listed = await _run("nft", "list", "tables")
        for match in _TABLE.finditer(listed):
            if not _runs(match[1]):
                await _run("nft", "delete", "table", "inet", f"forerun_{match[1]}")


def _runs(pid: str) -> bool:
    return Path("/proc", pid).exists()


def _find(name: str) -> str | None:
    return shutil.which(name, path=_SEARCH)


async def _run(name: str, *arguments: str, text: str = "") -> str:
    with given(text.encode()) as stdin:
        process = await asyncio.create_subprocess_exec(
            str(_find(name)),
            *arguments,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    try:
        async with asyncio.timeout(_COMMAND_S):
            output, errors = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise SetupFailed(f"{name} did not answer within {_COMMAND_S:.0f} s.") from None
    if process.returncode != 0:
        raise SetupFailed(f"{name}: {errors.decode('utf-8', 'replace').strip()}")
    return output.decode("utf-8", "replace")
