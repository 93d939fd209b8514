"""Watched directories under ``/forerun/``: put and deleted by ``POST``, told of by ``GET``."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.platform import Command, Query, Route
from forerun.api.sources import Rows
from forerun.control.authorization import Authorizer
from forerun.control.delivery.permission import require_sending
from forerun.errors import InvalidInput
from forerun.sources.folders import Folders, FolderWish, Standing, folder_arn
from forerun.storage.folders import Folder

EVENTS = ("created", "modified", "deleted")
_FIELDS = frozenset(
    {
        "Name", "Path", "Target", "Pattern", "Events", "Recursive", "SettleSeconds", "ScanSeconds",
        "Existing",
    }
)  # fmt: skip


class FolderRoutes:
    """Answers ``POST /forerun/put-folder`` and ``delete-folder``, ``GET /forerun/folders``."""

    def __init__(self, folders: Folders, authorizer: Authorizer) -> None:
        self._folders = folders
        self._authorizer = authorizer

    def routes(self) -> dict[str, Route]:
        """What ``GET`` tells, by name."""
        return {"folders": self.show}

    def commands(self) -> dict[str, Command]:
        """What ``POST`` does, by name."""
        return {"put-folder": self.put, "delete-folder": self.delete}

    def rows(self, region: str) -> Rows:
        """The folders of an account among all sources."""

        async def found(account: str) -> list[dict[str, Any]]:
            return [
                {
                    "Source": folder_arn(region, account, folder.name),
                    "Target": folder.config.target,
                    "Kind": "folder",
                    "Id": folder.name,
                    "State": "Trouble" if standing.trouble else "Watched",
                    "Reason": standing.trouble,
                    "Path": folder.config.path,
                    "Waiting": standing.waiting,
                    "Sent": standing.told,
                    "LastSent": standing.last_told,
                }
                for folder, standing in await self._folders.of_account(account)
            ]

        return found

    async def put(self, caller: Caller, given: dict[str, Any]) -> object:
        """Make or change a folder; what is left out gets its default. Who puts it must itself be allowed to send to the target."""
        if unknown := sorted(given.keys() - _FIELDS):
            raise InvalidInput(f"There is no field {unknown[0][:100]} of a folder")
        wish = FolderWish(
            name=_text(given, "Name", 64),
            path=_text(given, "Path", 4096),
            target=_text(given, "Target", 2048),
            pattern=_text(given, "Pattern", 256, required=False),
            events=_events(given.get("Events")),
            recursive=_flag(given, "Recursive", default=True),
            settle_s=_seconds(given, "SettleSeconds", 0, 3600, 1.0),
            scan_s=_seconds(given, "ScanSeconds", 1, 86_400, 60.0),
            existing=_flag(given, "Existing", default=False),
        )
        require_sending(
            self._authorizer, caller, self._folders.target_of(caller.account, wish.target)
        )
        folder = await self._folders.put(caller.account, wish)
        return {"Folder": await self._shown(caller, folder, Standing())}

    async def delete(self, caller: Caller, given: dict[str, Any]) -> object:
        """Watch a folder no more."""
        await self._folders.delete(caller.account, _text(given, "Name", 64))
        return {}

    async def show(self, caller: Caller, query: Query) -> object:
        """All folders of the account, or the one with ``Name``."""
        if name := query.get("Name"):
            found = [await self._folders.find(caller.account, name)]
        else:
            found = await self._folders.of_account(caller.account)
        return {"Folders": [await self._shown(caller, *each) for each in found]}

    async def _shown(self, caller: Caller, folder: Folder, standing: Standing) -> dict[str, Any]:
        config = folder.config
        return {
            "Name": folder.name,
            "Arn": folder_arn(caller.region, folder.account, folder.name),
            "Path": config.path,
            "Target": config.target,
            "Pattern": config.pattern,
            "Events": config.events,
            "Recursive": config.recursive,
            "SettleSeconds": config.settle_s,
            "ScanSeconds": config.scan_s,
            "Created": config.created,
            "Modified": config.modified,
            "Files": await self._folders.files(folder),
            "Told": standing.told,
            "LastTold": standing.last_told,
            "LookedThrough": standing.looked,
            "Waiting": standing.waiting,
            "Trouble": standing.trouble,
        }


def _text(given: dict[str, Any], name: str, most: int, *, required: bool = True) -> str:
    value = given.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value):
        raise InvalidInput(f"{name} must be a text that is not empty")
    if len(value) > most:
        raise InvalidInput(f"{name} must have at most {most} characters")
    return value


def _flag(given: dict[str, Any], name: str, *, default: bool) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} must be true or false")
    return value


def _seconds(given: dict[str, Any], name: str, low: float, high: float, default: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidInput(f"{name} must be a number from {low:g} to {high:g}")
    return float(value)


def _events(given: object) -> tuple[str, ...]:
    if given is None:
        return EVENTS[:2]
    if not isinstance(given, list) or not given or any(each not in EVENTS for each in given):
        raise InvalidInput(f"Events must be a list of some of {', '.join(EVENTS)}")
    return tuple(each for each in EVENTS if each in given)
