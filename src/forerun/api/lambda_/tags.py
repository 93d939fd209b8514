"""Tags: list, set, remove."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.control.tags import Tags


def routes(tags: Tags) -> dict[str, Handler]:
    """Handlers by operation."""

    async def get(caller: Caller, request: Any) -> Members:
        return {"Tags": await tags.get(caller.account, request.Resource)}

    async def add(caller: Caller, request: Any) -> Members:
        await tags.add(caller.account, request.Resource, request.Tags)
        return {}

    async def remove(caller: Caller, request: Any) -> Members:
        await tags.remove(caller.account, request.Resource, request.TagKeys)
        return {}

    return {"ListTags": get, "TagResource": add, "UntagResource": remove}
