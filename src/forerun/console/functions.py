"""What the pages show of functions: the list, one with its versions, and the switch of its monitoring."""

from typing import Any, NamedTuple

from forerun.console.sign_in import Visitor
from forerun.control.aliases import Aliases
from forerun.control.authorization import Authorizer
from forerun.control.functions import Functions
from forerun.control.tags import MONITORING_TAG, Tags
from forerun.control.versions import Versions
from forerun.model import FunctionVersion, function_arn
from forerun.storage.functions import FunctionStore

PAGE = 500
MOST_FUNCTIONS = 20_000
MOST_VERSIONS = 200
AUTO = "auto"


class FunctionServices(NamedTuple):
    """What is asked."""

    store: FunctionStore
    functions: Functions
    versions: Versions
    aliases: Aliases
    tags: Tags


class FunctionPages:
    """Answers as values that become JSON; each asks first whether the visitor may see it."""

    def __init__(self, services: FunctionServices, authorizer: Authorizer) -> None:
        self._services = services
        self._authorizer = authorizer

    async def list(self, visitor: Visitor) -> dict[str, Any]:
        """All functions of the account."""
        self._authorizer.require(visitor, "lambda:ListFunctions", "*")
        rows: list[dict[str, Any]] = []
        after = ""
        while len(rows) < MOST_FUNCTIONS:
            page = await self._services.store.overview(visitor.account, after, PAGE)
            rows += [_row(function, tags) for function, tags in page]
            if len(page) < PAGE:
                break
            after = page[-1][0].name
        return {"functions": rows}

    async def one(self, visitor: Visitor, name: str) -> dict[str, Any]:
        """A function with its settings, versions and aliases. Values of environment variables are not told."""
        self.require(visitor, "lambda:GetFunction", name)
        services, account = self._services, visitor.account
        record, latest = await services.functions.get(account, name)
        aliases: dict[str, list[str]] = {}
        for alias in await _all(services.aliases.page, account, name):
            aliases.setdefault(alias.version, []).append(alias.alias)
        versions = await _all(services.versions.page, account, name)
        return {
            **_row(latest, record.tags),
            "arn": latest.arn,
            "handler": latest.handler,
            "role": latest.role,
            "code_size": latest.code_size,
            "state": latest.state,
            "last_update_status": latest.last_update_status,
            "ephemeral_mb": latest.ephemeral_mb,
            "snap_start": latest.snap_start,
            "egress": record.tags.get("forerun:egress", "platform"),
            "log_group": latest.logging.group,
            "reserved": record.reserved,
            "environment": sorted(latest.environment),
            "layers": list(latest.layers),
            "tags": record.tags,
            "versions": [_version(each, aliases.get(each.version, [])) for each in versions][::-1],
        }

    async def set_monitoring(self, visitor: Visitor, name: str, value: str) -> dict[str, Any]:
        """Set the function's tag, or remove it for ``auto``; the tags' service says what else it may be."""
        arn = self.require(visitor, "lambda:TagResource", name)
        if value == AUTO:
            await self._services.tags.remove(visitor.account, arn, [MONITORING_TAG])
        else:
            await self._services.tags.add(visitor.account, arn, {MONITORING_TAG: value})
        return {"name": name, "monitoring": value}

    def require(self, visitor: Visitor, action: str, name: str) -> str:
        """The function's ARN, if the visitor may do that to it. Raises ``AccessDenied``."""
        arn = function_arn(visitor.region, visitor.account, name)
        self._authorizer.require(visitor, action, arn)
        return arn


async def _all(page: Any, account: str, name: str) -> list[Any]:
    """All pages of a listing, up to a bound."""
    found: list[Any] = []
    marker = None
    while len(found) < MOST_VERSIONS:
        step = await page(account, name, marker, None)
        found += step.items
        marker = step.marker
        if marker is None:
            break
    return found


def _row(function: FunctionVersion, tags: dict[str, str]) -> dict[str, Any]:
    return {
        "name": function.name,
        "runtime": function.runtime,
        "memory_mb": function.memory_mb,
        "timeout_s": function.timeout_s,
        "modified": function.last_modified,
        "description": function.description,
        "monitoring": tags.get(MONITORING_TAG, ""),
    }


def _version(function: FunctionVersion, aliases: list[str]) -> dict[str, Any]:
    return {
        "version": function.version,
        "modified": function.last_modified,
        "description": function.description,
        "runtime": function.runtime,
        "memory_mb": function.memory_mb,
        "code_size": function.code_size,
        "code_sha256": function.code_sha256,
        "snap_start": function.snap_start,
        "aliases": aliases,
    }
