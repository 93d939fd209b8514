"""Function URL configurations: create, get, update, delete, list."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members, plain
from forerun.api.lambda_.shapes import function_of, listing, unqualified
from forerun.control.urls import FunctionUrl, FunctionUrls, UrlChange
from forerun.model import function_arn, iso_time


def routes(urls: FunctionUrls) -> dict[str, Handler]:
    """Handlers by operation."""
    resource = _Urls(urls)
    return {
        "CreateFunctionUrlConfig": resource.create,
        "GetFunctionUrlConfig": resource.get,
        "UpdateFunctionUrlConfig": resource.update,
        "DeleteFunctionUrlConfig": resource.delete,
        "ListFunctionUrlConfigs": resource.page,
    }


class _Urls:
    def __init__(self, urls: FunctionUrls) -> None:
        self._urls = urls

    async def create(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        url = await self._urls.create(account, name, qualifier, _change(request))
        shown = _shown(caller, url)
        del shown["LastModifiedTime"]  # the one answer that has no such member
        return shown

    async def get(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        return _shown(caller, await self._urls.get(account, name, qualifier))

    async def update(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        url = await self._urls.update(account, name, qualifier, _change(request))
        return _shown(caller, url)

    async def delete(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        await self._urls.delete(account, name, qualifier)
        return {}

    async def page(self, caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        page = await self._urls.page(account, name, request.Marker, request.MaxItems)
        return listing("FunctionUrlConfigs", page, lambda url: _shown(caller, url))


def _change(request: Any) -> UrlChange:
    return UrlChange(
        auth_type=request.AuthType,
        cors=plain(request.Cors) if request.Cors is not None else None,
        invoke_mode=request.InvokeMode,
    )


def _shown(caller: Caller, url: FunctionUrl) -> Members:
    return {
        "FunctionUrl": url.url,
        "FunctionArn": function_arn(caller.region, url.account, url.name, url.qualifier),
        "AuthType": url.auth_type,
        "Cors": url.cors or None,
        "CreationTime": _time(url.created),
        "LastModifiedTime": _time(url.last_modified),
        "InvokeMode": url.invoke_mode,
    }


def _time(seconds: float) -> str:
    return iso_time(seconds, "microseconds")
