"""Aliases: create, get, update, delete, list."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.api.lambda_.shapes import listing, unqualified
from forerun.control.aliases import AliasChange, Aliases
from forerun.model import function_arn
from forerun.storage.aliases import Alias


def routes(aliases: Aliases) -> dict[str, Handler]:
    """Handlers by operation."""
    resource = _Aliases(aliases)
    return {
        "CreateAlias": resource.create,
        "GetAlias": resource.get,
        "UpdateAlias": resource.update,
        "DeleteAlias": resource.delete,
        "ListAliases": resource.page,
    }


class _Aliases:
    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    async def create(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        alias = await self._aliases.create(account, name, request.Name, _change(request))
        return _shown(caller, alias)

    async def get(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        return _shown(caller, await self._aliases.get(account, name, request.Name))

    async def update(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        alias = await self._aliases.update(
            account, name, request.Name, _change(request), revision=request.RevisionId
        )
        return _shown(caller, alias)

    async def delete(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        await self._aliases.delete(account, name, request.Name)
        return {}

    async def page(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        page = await self._aliases.page(
            account, name, request.Marker, request.MaxItems, version=request.FunctionVersion
        )
        return listing("Aliases", page, lambda alias: _shown(caller, alias))


def _change(request: Any) -> AliasChange:
    routing = request.RoutingConfig
    return AliasChange(
        version=request.FunctionVersion,
        description=request.Description,
        weights=(routing.AdditionalVersionWeights or {}) if routing is not None else None,
    )


def _shown(caller: Caller, alias: Alias) -> Members:
    return {
        "AliasArn": function_arn(caller.region, alias.account, alias.name, alias.alias),
        "Name": alias.alias,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RoutingConfig": {"AdditionalVersionWeights": alias.weights} if alias.weights else None,
        "RevisionId": alias.revision,
    }
