"""What agents want of a control plane, answered from what it has: credentials, and where code is to be had."""

import logging
import random
from collections.abc import Callable
from typing import Protocol

from forerun.cluster.contract import Upstream
from forerun.cluster.failures import told
from forerun.cluster.frames import FailedHead, GivenHead, TreeLead, TreeSource, WantHead
from forerun.cluster.manifest import is_digest
from forerun.cluster.trees import TreeShelf
from forerun.errors import ForerunError
from forerun.model import SandboxSpec

log = logging.getLogger("forerun.cluster")

SOURCES = 3


class Giver(Protocol):
    """What a control plane gives its hosts when they want it."""

    async def give(self, host: str, want: WantHead, spec: SandboxSpec | None) -> GivenHead:
        """What is wanted by a host; ``spec`` is the one that it is wanted for. Never raises."""
        ...

    def take_datagram(self, data: bytes, account: str, region: str, name: str) -> None:
        """One that a function sent to X-Ray's daemon; never waits."""
        ...


class Giving:
    """Implements ``Giver`` by what ``upstream`` offers.

    ``shelf`` has the trees of this machine; ``holders`` says which hosts have a tree, by address and name; ``own`` is this
    process's door.
    """

    def __init__(
        self,
        *,
        upstream: Upstream,
        shelf: TreeShelf,
        holders: Callable[[str], list[TreeSource]],
        own: TreeSource,
        choose: Callable[[list[TreeSource], int], list[TreeSource]] = random.sample,
    ) -> None:
        self._upstream = upstream
        self._shelf = shelf
        self._holders = holders
        self._own = own
        self._choose = choose
        self.take_datagram = upstream.take_datagram

    async def give(self, host: str, want: WantHead, spec: SandboxSpec | None) -> GivenHead:
        """See ``Giver.give``."""
        try:
            if want.what == "credentials" and spec is not None:
                return GivenHead(credentials=await self._upstream.issue(spec))
            if want.what == "tree" and is_digest(want.digest):
                return GivenHead(lead=await self._lead(host, want.digest))
        except (ForerunError, OSError) as error:
            return GivenHead(failure=told(error))
        return GivenHead(
            failure=FailedHead("HostUnreachable", f"{want.what[:40]!r} is not known here")
        )

    async def _lead(self, host: str, digest: str) -> TreeLead:
        seal, size = await self._shelf.seal(digest)
        others = [one for one in self._holders(digest) if one.name != host]
        if len(others) > SOURCES:
            others = self._choose(others, SOURCES)
        return TreeLead(manifest=seal, size=size, sources=[*others, self._own])
