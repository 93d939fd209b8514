"""What follows when a function was deployed, changed or deleted, besides that caches forget it."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from forerun.aio import TaskOwner
from forerun.control.estate import Estate
from forerun.control.invoke import Invoker
from forerun.errors import ForerunError, NotFound
from forerun.host import Host
from forerun.model import WITH_SDK
from forerun.scheduling import Admission

log = logging.getLogger("forerun")

Forget = Callable[[str, str], Awaitable[None]]
"""The function of an account is gone: so is what was learned of it."""


class Deployed:
    """Its methods are listeners of changes. ``start`` tells who runs snapshots and who forgets; tasks are ``owner``'s."""

    def __init__(
        self, estate: Estate, host: Host, admission: Admission, owner: TaskOwner, forget: Forget
    ) -> None:
        self._estate = estate
        self._host = host
        self._admission = admission
        self._owner = owner
        self._forget = forget
        self._invoker: Invoker | None = None

    def start(self, invoker: Invoker) -> None:
        """Snapshots of versions can be taken from now on."""
        self._invoker = invoker

    def drop_outdated(self, _account: str, _name: str, retired: Sequence[str]) -> None:
        """Sandboxes that serve no call any more go."""
        if retired:
            gone = tuple(retired)
            prefixes = tuple(f"{key}." for key in gone)
            self._host.drop(lambda key: key in gone or key.startswith(prefixes))

    def prepare(self, account: str, name: str, _retired: Sequence[str]) -> None:
        """Its first call shall find its reservation known and a sandbox of its runtime waiting."""
        self._owner.spawn(self._take_notice(account, name), name="take-notice")

    async def _take_notice(self, account: str, name: str) -> None:
        try:
            resolved = await self._estate.registry.resolve(account, name, None, 0.0)
        except NotFound:
            self._admission.reserve(account, name, None)
            await self._forget(account, name)
        else:
            self._admission.reserve(account, name, resolved.reserved)
            function = resolved.function
            suffix = WITH_SDK if function.uses_sdk else ""
            self._host.hold_ready(function.runtime + suffix)
            if function.snap_start:
                await self._take_snapshot(account, name)

    async def _take_snapshot(self, account: str, name: str) -> None:
        newest = await self._estate.versions.newest(account, name)
        if newest is not None and newest.snap_start and self._invoker is not None:
            try:
                resolved = await self._estate.registry.resolve(account, name, newest.version, 0.0)
                await self._invoker.prepare(resolved.function)
            except ForerunError as error:
                log.warning("no snapshot of %s yet: %s", newest.qualified_arn, error.message)
