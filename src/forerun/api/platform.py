"""What AWS's API has no place for, as signed JSON under ``/forerun/``.

``GET`` tells: status, sandboxes, invocations and more. ``POST`` does: its body is one JSON object. Both are signed as
service ``forerun`` and served to callers who may do the action of that name: ``GET /forerun/status`` is
``forerun:GetStatus``, ``POST /forerun/put-metaevent`` is ``forerun:PutMetaevent``.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from forerun.api.caller import Caller
from forerun.api.numbers import whole_number
from forerun.api.response import Response
from forerun.control.authorization import Authorizer
from forerun.errors import InvalidInput, NotFound
from forerun.model import parse_function_ref
from forerun.storage import InvocationFilter, InvocationStore

MAX_ITEMS = 1000
_NEWEST = (1 << 63) - 1

Query = Mapping[str, str]
Account = Callable[[], dict[str, Any]]
Route = Callable[[Caller, Query], Awaitable[object]]
Command = Callable[[Caller, dict[str, Any]], Awaitable[object]]


class PlatformRoutes:
    """Answers ``/forerun/NAME``; ``more`` are the routes of other modules, ``commands`` what is done by ``POST``, by name."""

    def __init__(
        self,
        *,
        status: Account,
        sandboxes: Callable[[str], list[dict[str, Any]]],
        invocations: InvocationStore,
        authorizer: Authorizer,
        more: Mapping[str, Route] | None = None,
        commands: Mapping[str, Command] | None = None,
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
        self._commands = dict(commands or {})

    async def serve(self, caller: Caller, name: str, query: Query) -> Response:
        """Answer one request; ``NotFound`` for a name that is none."""
        route = self._routes.get(name)
        if route is None:
            raise NotFound(f"There is no /forerun/{name}; there are: {', '.join(self._routes)}")
        self._authorizer.require(caller, f"forerun:Get{_action(name)}", "*")
        return _answer(await route(caller, query))

    async def do(self, caller: Caller, name: str, body: bytes) -> Response:
        """Carry out one command; ``NotFound`` for a name that is none, ``InvalidInput`` for a body that is no JSON object."""
        command = self._commands.get(name)
        if command is None:
            raise NotFound(
                f"There is no POST /forerun/{name}; there are: {', '.join(self._commands)}"
            )
        self._authorizer.require(caller, f"forerun:{_action(name)}", "*")
        try:
            given = msgspec.json.decode(body or b"{}", type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput(f"The body must be a JSON object: {error}") from None
        return _answer(await command(caller, given))

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
        limit = whole_number(query, "MaxItems", 50, MAX_ITEMS)
        before = whole_number(query, "Marker", 0, _NEWEST) or None
        page = await self._invocations.list(caller.account, wanted, limit=limit, before=before)
        answer: dict[str, object] = {"Invocations": page.records}
        if page.before is not None:
            answer["NextMarker"] = str(page.before)
        return answer


def _action(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))


def _answer(value: object) -> Response:
    return Response(200, [(b"content-type", b"application/json")], msgspec.json.encode(value))
