"""Which functions run once, under ``/forerun/``: put and deleted by ``POST``, told of by ``GET``."""

from typing import Annotated, Any

import msgspec

from forerun.api.caller import Caller
from forerun.api.platform import Command, Query, Route
from forerun.control.once import LONGEST_KEY, OnceConfigs, OnceWish, Shown, read_specs, shown_spec
from forerun.errors import AccessDenied, InvalidInput
from forerun.model import parse_function_ref

LONGEST_S = 366 * 86_400
MOST_SUCCESSES = 1_000_000
_PAGE = 100


class PutOnce(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of put-once. ``Key`` is read by ``check_key`` and ``DependsOn`` by ``read_specs``."""

    FunctionName: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    Key: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_KEY)] | None = None
    Successes: Annotated[int, msgspec.Meta(ge=1, le=MOST_SUCCESSES)] = 1
    ExpiresSeconds: Annotated[float, msgspec.Meta(ge=1, le=LONGEST_S)] = 3600.0
    DependsOn: list[Any] = []
    KeepResults: bool = True


class OnceRoutes:
    """Answers ``POST /forerun/put-once`` and ``delete-once``, ``GET /forerun/once``."""

    def __init__(self, configs: OnceConfigs) -> None:
        self._configs = configs

    def routes(self) -> dict[str, Route]:
        """What ``GET`` tells, by name."""
        return {"once": self.show}

    def commands(self) -> dict[str, Command]:
        """What ``POST`` does, by name."""
        return {"put-once": self.put, "delete-once": self.delete}

    async def put(self, caller: Caller, given: dict[str, Any]) -> object:
        """Set how a function runs once; what is left out gets its default."""
        try:
            asked = msgspec.convert(given, PutOnce)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"The body is not as it must be: {error}") from None
        wish = OnceWish(
            key=asked.Key or "",
            successes=asked.Successes,
            expires_s=asked.ExpiresSeconds,
            depends_on=read_specs(asked.DependsOn),
            keep_results=asked.KeepResults,
        )
        return {
            "Once": _shown(
                await self._configs.put(caller.account, _name(caller, asked.FunctionName), wish)
            )
        }

    async def delete(self, caller: Caller, given: dict[str, Any]) -> object:
        """Let a function run for every call again."""
        name = given.get("FunctionName")
        if not isinstance(name, str) or not name:
            raise InvalidInput("FunctionName must be a text that is not empty")
        await self._configs.delete(caller.account, _name(caller, name))
        return {}

    async def show(self, caller: Caller, query: Query) -> object:
        """All functions of the account that run once, a page at a time; or the one with ``FunctionName``, with the states of what it depends on."""
        if name := query.get("FunctionName"):
            return {"Once": [_shown(await self._configs.get(caller.account, _name(caller, name)))]}
        after = query.get("Marker", "")
        found = await self._configs.page(caller.account, after=after, limit=_PAGE)
        answer: dict[str, object] = {"Once": [_shown(each) for each in found]}
        if len(found) == _PAGE:
            answer["NextMarker"] = found[-1].name
        return answer


def _name(caller: Caller, given: str) -> str:
    """A function of the caller's account; all its versions and aliases run once together."""
    ref = parse_function_ref(given)
    if ref.account is not None and ref.account != caller.account:
        raise AccessDenied("How a function runs once is its own account's matter")
    if ref.qualifier is not None:
        raise InvalidInput(
            "FunctionName must have no version or alias: all of them run once together"
        )
    return ref.name


def _shown(shown: Shown) -> dict[str, Any]:
    config = shown.config
    states: list[str | None] = list(shown.states) or [None] * len(config.depends_on)
    depends_on = [
        {**shown_spec(spec), "State": state} if shown.states else shown_spec(spec)
        for spec, state in zip(config.depends_on, states, strict=True)
    ]
    return {
        "FunctionName": shown.name,
        "Key": config.key or None,
        "Successes": config.successes,
        "ExpiresSeconds": config.expires_s,
        "DependsOn": depends_on,
        "KeepResults": config.keep_results,
        "Ids": shown.ids,
        "Records": shown.records,
        "Created": config.created,
        "Modified": config.modified,
    }
