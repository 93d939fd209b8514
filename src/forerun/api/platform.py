"""The platform's own account of itself, as signed JSON under ``/forerun/``: status, sandboxes, invocations.

These tell what AWS's API has no place for. They are signed as service ``forerun`` and answered to callers who may do
the action named with each route.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from forerun.api.caller import Caller
from forerun.api.response import Response
from forerun.control.authorization import Authorizer
from forerun.errors import InvalidInput, NotFound
from forerun.model import parse_function_ref
from forerun.storage import InvocationFilter, InvocationStore

MAX_ITEMS = 1000

Query = Mapping[str, str]
Account = Callable[[], dict[str, Any]]
Route = Callable[[Caller, Query], Awaitable[object]]


class PlatformRoutes:
    """Answers ``GET /forerun/NAME``; ``more`` are the routes of other modules, by name."""

    def __init__(
        self,
        *,
        status: Account,
        sandboxes: Callable[[str], list[dict[str, Any]]],
        invocations: InvocationStore,
        authorizer: Authorizer,
        more: Mapping[str, Route] | None = None,
    ) -> None:
        self._status = status
        self._sandboxes = sandboxes
        self._invocations = invocations
        self._authorizer = authorizer
        self._routes: dict[str, Route] = {
            "status": self._get_status,
            "sandboxes": self._get_sandboxes,
            "invocations": self._get_invocations,
            **(more or {}),
        }

    async def serve(self, caller: Caller, name: str, query: Query) -> Response:
        """Answer one request; ``NotFound`` for a name that is none."""
        route = self._routes.get(name)
        if route is None:
            raise NotFound(f"There is no /forerun/{name}; there are: {', '.join(self._routes)}")
        action = "".join(word.capitalize() for word in name.split("-"))
        self._authorizer.require(caller, f"forerun:Get{action}", "*")
        body = msgspec.json.encode(await route(caller, query))
        return Response(200, [(b"content-type", b"application/json")], body)

    async def _get_status(self, _caller: Caller, _query: Query) -> object:
        return self._status()

    async def _get_sandboxes(self, caller: Caller, _query: Query) -> object:
        return {"Sandboxes": self._sandboxes(caller.account)}

    async def _get_invocations(self, caller: Caller, query: Query) -> object:
        if request_id := query.get("RequestId"):
            attempts = await self._invocations.attempts(request_id)
            return {"Invocations": [each for each in attempts if each.account == caller.account]}
        name = query.get("FunctionName")
        wanted = InvocationFilter(
            name=parse_function_ref(name).name if name else "",
            status=query.get("Status", ""),
            start_type=query.get("StartType", ""),
        )
        limit = _number(query, "MaxItems", 50, MAX_ITEMS)
        before = _number(query, "Marker", 0, 1 << 62) or None
        page = await self._invocations.list(caller.account, wanted, limit=limit, before=before)
        answer: dict[str, object] = {"Invocations": page.records}
        if page.before is not None:
            answer["NextMarker"] = str(page.before)
        return answer


def _number(query: Query, name: str, default: int, most: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise InvalidInput(f"{name} must be a number from 1 to {most}, not '{text[:100]}'")
    return int(text)
