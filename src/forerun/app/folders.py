"""Makes the part that watches directories."""

from forerun.api.folders import FolderRoutes
from forerun.app.ground import Ground, Part
from forerun.sources import Outbox
from forerun.sources.folders import Folders
from forerun.storage.folders import FolderStore


def make_folders(ground: Ground, outbox: Outbox) -> Part:
    """Over the open state; which directories may be watched is a setting."""
    folders = Folders(
        FolderStore(ground.state.messages),
        outbox,
        ground.clock,
        region=ground.settings.server.region,
        roots=ground.settings.events.folders,
    )
    routes = FolderRoutes(folders, ground.services.authorizer)
    return Part(
        routes=routes.routes(),
        commands=routes.commands(),
        rows=routes.rows(ground.settings.server.region),
        start=folders.start,
        close=folders.close,
    )
