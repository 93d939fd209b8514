"""From what clients call a function to what is stored, with AWS's words for what is not there."""

import re

from forerun.control.rules import require_match
from forerun.errors import NotFound, PreconditionFailed
from forerun.model import function_arn
from forerun.storage.aliases import Alias, AliasStore
from forerun.storage.functions import LATEST, FunctionRecord, FunctionStore, VersionRecord

NUMBER = re.compile(r"[0-9]{1,18}")
ALIAS = re.compile(r"(?!^[0-9]+$)([a-zA-Z0-9-_]+)")


class Lookup:
    """Finds functions, versions and aliases; raises ``NotFound`` as AWS says it."""

    def __init__(self, *, functions: FunctionStore, aliases: AliasStore, region: str) -> None:
        self._functions = functions
        self._aliases = aliases
        self.region = region

    def arn(self, account: str, name: str, qualifier: str | None = None) -> str:
        """The function's ARN, qualified if a qualifier is given."""
        return function_arn(self.region, account, name, qualifier)

    async def version(
        self, account: str, name: str, qualifier: str | None = None
    ) -> tuple[FunctionRecord, VersionRecord]:
        """The version that a qualifier (none: ``$LATEST``; number; alias: its main version) means."""
        version = qualifier or LATEST
        if version != LATEST and not NUMBER.fullmatch(version):
            alias = await self._aliases.find(account, name, version)
            if alias is None:
                raise self.missing(account, name, qualifier)
            version = alias.version
        found = await self._functions.find(account, name, version)
        if found is None:
            raise self.missing(account, name, qualifier)
        return found

    async def find_alias(self, account: str, name: str, alias: str) -> Alias | None:
        """An alias, or ``None``."""
        return await self._aliases.find(account, name, alias)

    async def alias(self, account: str, name: str, alias: str) -> Alias:
        """An alias by its name."""
        require_match("name", alias, ALIAS)
        found = await self._aliases.find(account, name, alias)
        if found is None:
            raise NotFound(f"Cannot find alias arn: {self.arn(account, name, alias)}")
        return found

    def missing(self, account: str, name: str, qualifier: str | None = None) -> NotFound:
        """The error for a function or qualifier that is not there."""
        return NotFound(f"Function not found: {self.arn(account, name, qualifier)}")


def require_revision(given: str | None, current: str) -> None:
    """``PreconditionFailed`` when a RevisionId was given that is not the current one."""
    if given is not None and given != current:
        raise PreconditionFailed(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )
