"""Published versions: publish, list."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.api.lambda_.shapes import configuration, listing, unqualified
from forerun.control.versions import Versions
from forerun.errors import Unsupported


def routes(versions: Versions) -> dict[str, Handler]:
    """Handlers by operation."""

    async def publish(caller: Caller, request: Any) -> Members:
        if request.PublishTo is not None:
            raise Unsupported(
                "Publishing to $LATEST.PUBLISHED is not served yet; leave PublishTo out"
            )
        account, name, _ = unqualified(caller, request)
        function = await versions.publish(
            account,
            name,
            description=request.Description,
            code_sha256=request.CodeSha256,
            revision=request.RevisionId,
        )
        return configuration(function)

    async def page(caller: Caller, request: Any) -> Members:
        account, name, _ = unqualified(caller, request)
        found = await versions.page(account, name, request.Marker, request.MaxItems)
        return listing("Versions", found, lambda f: configuration(f, f.version))

    return {"PublishVersion": publish, "ListVersionsByFunction": page}
