"""Which kind of sandbox this machine gets."""

import logging

from forerun.errors import SetupFailed
from forerun.sandbox import (
    JailSandboxes,
    JailSettings,
    OnExit,
    Sandboxes,
    ServePlatform,
    find_nodes,
    find_pythons,
    search_folders,
)
from forerun.settings import Settings

log = logging.getLogger("forerun")


def make_sandboxes(
    settings: Settings, serve_platform: ServePlatform, on_exit: OnExit, port: int
) -> Sandboxes:
    """As the settings say; ``auto`` is the jail where the kernel allows it, and says so loudly where not."""
    folders = search_folders(settings.sandbox.search_path)
    interpreters = find_pythons(folders, settings.sandbox.home) | find_nodes(folders)
    if not interpreters:
        raise SetupFailed("no interpreter is installed: install python3.11 or nodejs")
    return JailSandboxes(
        JailSettings(
            data_dir=settings.server.data_dir,
            interpreters=interpreters,
            serve_platform=serve_platform,
            on_exit=on_exit,
        )
    )
