"""Reserved concurrency, recursion and runtime policy of functions, and what an account has used."""

import msgspec

from forerun.control.changes import Changes
from forerun.control.lookup import Lookup
from forerun.control.rules import require_one_of, require_range
from forerun.errors import InvalidInput
from forerun.storage.functions import RuntimePolicy
from forerun.storage.ownership import OwnershipStore, Usage
from forerun.storage.provisioned import ProvisionedStore

NEWEST_INTEGER = 2**31 - 1


class AccountUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has and may have: concurrency in calls, ``usage`` in bytes and functions.

    ``unreserved`` is what neither reservations nor provisioned concurrency of functions without one have taken.
    """

    concurrency: int
    unreserved: int
    usage: Usage


class Concurrency:
    """Reserves parts of an account's concurrency for functions."""

    def __init__(
        self,
        *,
        ownership: OwnershipStore,
        provisioned: ProvisionedStore,
        lookup: Lookup,
        changes: Changes,
        account_limit: int,
        unreserved_minimum: int,
    ) -> None:
        self._ownership = ownership
        self._provisioned = provisioned
        self._lookup = lookup
        self._changes = changes
        self._limit = account_limit
        self._minimum = unreserved_minimum

    async def reserve(self, account: str, name: str, amount: int) -> int:
        """Reserve so many concurrent calls for a function; 0 stops it."""
        require_range("reservedConcurrentExecutions", amount, 0, NEWEST_INTEGER)
        await self._lookup.version(account, name)
        provisioned = await self._provisioned.total(account, name)
        if amount < provisioned:
            raise InvalidInput(
                f"ReservedConcurrentExecutions {amount} should not be lower than function's total provisioned "
                f"concurrency [{provisioned}]."
            )
        most = self._limit - self._minimum
        if not await self._ownership.reserve(account, name, amount, most=most):
            raise InvalidInput(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{self._minimum}]."
            )
        self._changes.tell(account, name)
        return amount

    async def reserved(self, account: str, name: str) -> int | None:
        """What is reserved for the function."""
        record, _ = await self._lookup.version(account, name)
        return record.reserved

    async def unreserve(self, account: str, name: str) -> None:
        """Let the function share the account's concurrency again."""
        await self._lookup.version(account, name)
        await self._ownership.unreserve(account, name)
        self._changes.tell(account, name)

    async def reservations(self) -> list[tuple[str, str, int]]:
        """Account, function and amount of every reservation, for who admits calls."""
        return await self._ownership.reservations()

    async def account(self, account: str) -> AccountUsage:
        """The account's concurrency and stored code."""
        taken = await self._ownership.reserved_total(account)
        taken += await self._provisioned.unreserved_total(account)
        return AccountUsage(
            concurrency=self._limit,
            unreserved=self._limit - taken,
            usage=await self._ownership.usage(account),
        )


class Behaviour:
    """What functions do about recursive calls and newer runtimes: stored and shown."""

    def __init__(self, *, ownership: OwnershipStore, lookup: Lookup, changes: Changes) -> None:
        self._ownership = ownership
        self._lookup = lookup
        self._changes = changes

    async def recursion(self, account: str, name: str) -> str:
        """``Allow`` or ``Terminate``."""
        record, _ = await self._lookup.version(account, name)
        return record.recursion

    async def set_recursion(self, account: str, name: str, recursion: str) -> str:
        """Allow recursive calls, or have them terminated."""
        require_one_of("recursiveLoop", recursion, ("Allow", "Terminate"))
        await self._lookup.version(account, name)
        await self._ownership.set_recursion(account, name, recursion)
        self._changes.tell(account, name)
        return recursion

    async def runtime_policy(
        self, account: str, name: str, qualifier: str | None
    ) -> tuple[RuntimePolicy, str]:
        """The policy of the version that the qualifier means, and that version."""
        _, version = await self._lookup.version(account, name, qualifier)
        return version.runtime_policy or RuntimePolicy(), version.function.version

    async def set_runtime_policy(
        self, account: str, name: str, qualifier: str | None, policy: RuntimePolicy
    ) -> str:
        """Change it; the version it now holds for."""
        require_one_of("updateRuntimeOn", policy.update_on, ("Auto", "Manual", "FunctionUpdate"))
        if (policy.update_on == "Manual") != (policy.runtime_arn is not None):
            raise InvalidInput(
                "RuntimeVersionArn must be given if, and only if, UpdateRuntimeOn is Manual."
            )
        _, version = await self._lookup.version(account, name, qualifier)
        await self._ownership.set_runtime_policy(account, name, version.function.version, policy)
        return version.function.version
