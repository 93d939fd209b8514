"""A cluster without an engine: each agent is kept by what started it, and announces itself at the doors of all control planes.

After the welcome of a connection of kind ``announce``, the host sends a line of JSON, ``Kept``, once a second; a line back
tells it to end its agent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.cluster.contract import Member
from forerun.cluster.door import Guest
from forerun.cluster.introductions import introduced
from forerun.cluster.keeper import Kept
from forerun.cluster.knocking import Knocker
from forerun.cluster.tls import Peer
from forerun.errors import ForerunError, HostUnreachable, NotFound

log = logging.getLogger("forerun.cluster")

ANNOUNCE_S = 1.0
# Nobody is heard more often: each change goes to the database.
PACE_S = 0.1
SILENT_S = 5.0
RETRY_S = 1.0
END = b"end\n"
DOORS = 32

Changed = Callable[[Sequence[Member]], None]


class StaticFleet:
    """The machines that announce themselves here. Serve ``handle`` as ``announce`` to the role ``host``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._members: dict[str, Member] = {}
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._changed: Changed = lambda _: None

    async def start(self, on_change: Changed) -> None:
        """See ``Fleet``."""
        self._changed = on_change
        on_change(self.members())

    def members(self) -> Sequence[Member]:
        """See ``Fleet``."""
        return [self._members[name] for name in sorted(self._members)]

    async def dismiss(self, name: str) -> None:
        """See ``Fleet``. Raises ``NotFound``."""
        writer = self._writers.get(name)
        if writer is None:
            raise NotFound(f"No machine {name} has announced itself here.")
        writer.write(END)

    async def scale(self, hosts: int, memory_mb: int) -> None:
        """See ``Fleet``: a wish that stays one, since nobody here starts machines."""

    async def close(self) -> None:
        """See ``Fleet``."""
        self._changed = lambda _: None

    async def handle(self, guest: Guest) -> None:
        """One machine, for as long as it is there."""
        if (other := self._writers.get(guest.name)) is not None:
            # The same machine again, over another connection: the newest counts.
            other.close()
        reader, writer = guest.streams()
        self._writers[guest.name] = writer
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    line = await reader.readline()
                if not line:
                    break
                self._take(guest.name, msgspec.json.decode(line, type=Kept))
                await asyncio.sleep(PACE_S)
        except (TimeoutError, ValueError, OSError, RecursionError, ForerunError) as error:
            log.warning("host %s announces itself no more: %s", guest.name, error or "silence")
        finally:
            writer.close()
            if self._writers.get(guest.name) is writer:
                del self._writers[guest.name]
                self._lose(guest.name)

    def _take(self, name: str, kept: Kept) -> None:
        agent = kept.agent
        if kept.name != name or (agent is not None and agent.name != name):
            raise ValueError(f"it calls itself {kept.name[:80]!r}")
        if agent is not None:
            introduced(agent)
        member = Member(
            name=name,
            node="",
            alive=True,
            cpus=float(agent.cpus) if agent else 0.0,
            memory_mb=agent.memory_mb if agent else 0,
            labels=dict(agent.labels) if agent else {},
            agent=agent,
            failure=kept.failure[:1000],
        )
        if self._members.get(name) != member:
            self._members[name] = member
            self._changed(self.members())

    def _lose(self, name: str) -> None:
        before = self._members.get(name)
        if before is not None:
            self._members[name] = msgspec.structs.replace(
                before, alive=False, agent=None, failure="it announces itself no more"
            )
            self._changed(self.members())


class Announcer:
    """Tells all control planes how this machine's agent is, for as long as it is told to; ``end`` is called when one ends it."""

    def __init__(
        self,
        clock: Clock,
        knocker: Knocker,
        report: Callable[[], Kept],
        end: Callable[[], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._knocker = knocker
        self._report = report
        self._end = end
        self._owner = TaskOwner("announcer")
        self._doors: dict[str, asyncio.Task[None]] = {}

    def follow(self, doors: Sequence[str]) -> None:
        """These are the control planes from now on."""
        wanted = set(doors[:DOORS])
        for door in [each for each in self._doors if each not in wanted]:
            self._doors.pop(door).cancel()
        for door in wanted - self._doors.keys():
            self._doors[door] = self._owner.spawn(self._tell(door), name=door)

    async def close(self) -> None:
        """Announce it no more."""
        await self._owner.close()

    async def _tell(self, door: str) -> None:
        while True:
            try:
                await self._tell_once(door)
            except (ForerunError, OSError, EOFError) as error:
                log.info("cannot announce this host at %s: %s", door, error)
            await self._clock.sleep(RETRY_S)

    async def _tell_once(self, door: str) -> None:
        found = await self._knocker.knock(door, "announce", expect=Peer("", "control"))
        reader, writer = found.streams()
        orders = self._owner.spawn(self._obey(reader), name=f"{door} orders")
        try:
            while not orders.done():
                writer.write(msgspec.json.encode(self._report()) + b"\n")
                async with asyncio.timeout(SILENT_S):
                    await writer.drain()
                await self._clock.sleep(ANNOUNCE_S)
        except TimeoutError as error:
            raise HostUnreachable(f"{door} takes nothing") from error
        finally:
            orders.cancel()
            writer.close()

    async def _obey(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if line == END:
                await self._end()
