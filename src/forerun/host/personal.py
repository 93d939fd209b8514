"""What a sandbox gets for itself of its version's spec: a log stream and credentials."""

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from forerun.aio import Clock
from forerun.host.slots import Slot
from forerun.model import Credentials, SandboxSpec

if TYPE_CHECKING:
    # Only its interface is known here; which kind of sandbox it is, is decided elsewhere.
    from forerun.sandbox import Sandbox


class Personal:
    """Makes the spec of one sandbox. ``credentials`` issues new ones; without it the version's own are kept."""

    def __init__(
        self, clock: Clock, credentials: Callable[[SandboxSpec], Credentials | None] | None
    ) -> None:
        self._clock = clock
        self._credentials = credentials

    def spec(self, slot: "Slot[Sandbox]", spec: SandboxSpec) -> SandboxSpec:
        """``spec`` for the sandbox of ``slot``, which takes note of its log stream."""
        slot.log_stream = self.log_stream(spec)
        return msgspec.structs.replace(
            spec,
            log_stream=slot.log_stream,
            credentials=self._credentials(spec) if self._credentials else spec.credentials,
        )

    def log_stream(self, spec: SandboxSpec) -> str:
        """The name of a new log stream, as AWS makes them."""
        day = time.strftime("%Y/%m/%d", time.gmtime(self._clock.now()))
        return f"{day}/[{spec.version}]{secrets.token_hex(16)}"
