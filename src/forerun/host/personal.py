"""What a sandbox gets for itself of its version's spec, a log stream and credentials; and whose they are now."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from forerun.aio import Clock
from forerun.host.slots import Slot
from forerun.model import Call, Credentials, SandboxSpec, TraceContext

if TYPE_CHECKING:
    # Only its interface is known here; which kind of sandbox it is, is decided elsewhere.
    from forerun.sandbox import Sandbox


class Personal:
    """Makes the spec of one sandbox. ``credentials`` issues new ones, or ``issue`` where they come from another machine; without
    either the version's own are kept."""

    def __init__(
        self,
        clock: Clock,
        credentials: Callable[[SandboxSpec], Credentials | None] | None,
        issue: Callable[[SandboxSpec], Awaitable[Credentials | None]] | None = None,
    ) -> None:
        self._clock = clock
        self._credentials = credentials
        self.issue = issue
        self._running: dict[str, TraceContext] = {}

    async def awaited_spec(self, slot: "Slot[Sandbox]", spec: SandboxSpec) -> SandboxSpec:
        """As ``spec``, with credentials that have to be waited for where that is so. Raises ``SandboxError``."""
        if self.issue is not None:
            spec = msgspec.structs.replace(spec, credentials=await self.issue(spec))
        return self.spec(slot, spec)

    def spec(self, slot: "Slot[Sandbox]", spec: SandboxSpec) -> SandboxSpec:
        """``spec`` for the sandbox of ``slot``, which takes note of both."""
        slot.log_stream = self.log_stream(spec)
        credentials = self._credentials(spec) if self._credentials else spec.credentials
        slot.access_key_id = credentials.access_key_id if credentials else ""
        return msgspec.structs.replace(spec, log_stream=slot.log_stream, credentials=credentials)

    def began(self, slot: "Slot[Sandbox]", call: Call) -> None:
        """A call runs in the sandbox from now on, which ``running`` knows by the sandbox's credentials."""
        if call.context is not None:
            self._running[slot.access_key_id] = call.context
        elif call.taken is not None:
            call.taken(slot.access_key_id)

    def ended(self, slot: "Slot[Sandbox]") -> None:
        """It runs no more."""
        self._running.pop(slot.access_key_id, None)

    def running(self, access_key_id: str) -> TraceContext | None:
        """See ``Host.running``."""
        return self._running.get(access_key_id) if access_key_id else None

    def log_stream(self, spec: SandboxSpec) -> str:
        """The name of a new log stream, as AWS makes them."""
        day = time.strftime("%Y/%m/%d", time.gmtime(self._clock.now()))
        return f"{day}/[{spec.version}]{secrets.token_hex(16)}"
