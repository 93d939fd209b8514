"""``GET /forerun/zygotes``: which zygotes there are and why, and what the caller's functions import."""

from typing import Protocol

from forerun.api.caller import Caller
from forerun.api.platform import Query, Route
from forerun.errors import InvalidInput
from forerun.model import parse_function_ref


class Shown(Protocol):
    """Who knows zygotes."""

    def zygotes(self, account: str) -> list[dict[str, object]]:
        """All, each with the functions of this account that it serves."""
        ...

    def planned(self) -> list[dict[str, object]]:
        """Those that were chosen and are not there."""
        ...

    def imports(self, account: str, name: str) -> list[dict[str, object]]:
        """What the functions of this account import; of one, if it is named."""
        ...


class ZygoteRoutes:
    """With ``FunctionName`` it is what that function imports that is told."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"zygotes": self.get}

    async def get(self, caller: Caller, query: Query) -> object:
        """Zygotes, those that are planned, and the functions whose imports are known."""
        name = ""
        if text := query.get("FunctionName", ""):
            ref = parse_function_ref(text)
            if ref.account not in (None, caller.account):
                raise InvalidInput("FunctionName must be a function of your own account")
            name = ref.name
        return {
            "Zygotes": self._shown.zygotes(caller.account),
            "Planned": self._shown.planned(),
            "Functions": self._shown.imports(caller.account, name),
        }
