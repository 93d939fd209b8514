"""Which kind of sandbox this machine gets."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from forerun.errors import SetupFailed
from forerun.model import SandboxSpec
from forerun.sandbox import (
    STANDARD_PRELOAD,
    Connection,
    JailSandboxes,
    JailSettings,
    Nursery,
    OnExit,
    OnLoaded,
    ProcessSandboxes,
    ProcessSettings,
    Sandboxes,
    ServePlatform,
    can_jail,
    find_nodes,
    find_pythons,
    search_folders,
)
from forerun.settings import Settings

log = logging.getLogger("forerun")


class Segments(Protocol):
    """Takes the segments of traces that functions send to X-Ray's daemon."""

    def take_datagram(self, data: bytes, spec: SandboxSpec) -> None:
        """One, from the sandbox of a function."""
        ...

    def open_daemon(self) -> str:
        """The address for functions that are not in a network of their own."""
        ...


def make_sandboxes(
    settings: Settings,
    serve_platform: ServePlatform,
    on_exit: OnExit,
    endpoint: str,
    segments: Segments,
    on_loaded: OnLoaded,
) -> Sandboxes:
    """As the settings say; ``auto`` is the jail where the kernel allows it, and says so loudly where not.

    Raises ``SetupFailed`` when no interpreter is installed, or the jail is wanted and cannot be made.
    """
    folders = search_folders(settings.sandbox.search_path)
    interpreters = find_pythons(folders, settings.sandbox.home) | find_nodes(folders)
    if not interpreters:
        raise SetupFailed("no interpreter is installed: install python3.11 or nodejs")
    mode = settings.sandbox.mode
    obstacle = None if mode == "process" else can_jail()
    if obstacle and mode == "jail":
        raise SetupFailed(
            f"no jail can be made here: {obstacle}. To run code without isolation: --sandbox process"
        )
    if obstacle or mode == "process":
        log.warning(
            "CODE IS NOT ISOLATED: functions run as plain processes with this user's rights"
        )
        if obstacle:
            log.warning("no jail can be made here: %s", obstacle)
        return ProcessSandboxes(
            ProcessSettings(
                data_dir=settings.server.data_dir,
                interpreters=interpreters,
                endpoint_url=endpoint,
                daemon=segments.open_daemon(),
                max_calls=settings.monitoring.max_calls,
                on_exit=on_exit,
            )
        )
    return JailSandboxes(
        JailSettings(
            data_dir=settings.server.data_dir,
            interpreters=interpreters,
            preload=(*STANDARD_PRELOAD, *settings.sandbox.preload),
            serve_platform=serve_platform,
            take_datagram=segments.take_datagram,
            max_calls=settings.monitoring.max_calls,
            on_exit=on_exit,
            on_loaded=on_loaded,
        )
    )


def connections_of(sandboxes: Sandboxes) -> Callable[[], Awaitable[Sequence[Connection]]] | None:
    """What tells the connections out of sandboxes, where they can be told from the machine's own."""
    return sandboxes.connections if isinstance(sandboxes, JailSandboxes) else None


def nursery_of(sandboxes: Sandboxes) -> Nursery | None:
    """The zygotes that the sandboxes are forked from, where they are."""
    return sandboxes.nursery if isinstance(sandboxes, JailSandboxes) else None
