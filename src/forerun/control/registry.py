"""The hot path's resolver: function, qualifier and a random number in, everything an invocation needs out.

What was resolved is remembered until a service tells that something about the function changed. A hit is answered
without waiting (``peek``); a miss costs a few reads by key, however many functions are stored.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from forerun.control.lookup import NUMBER, Lookup
from forerun.control.policies import Policy, PolicyKind, parse_policy
from forerun.control.tags import (
    DEFERRABLE_TAG,
    EGRESS_TAG,
    ISOLATION_TAG,
    MONITORING_TAG,
    ZONE_TAG,
)
from forerun.errors import StorageFailed
from forerun.model import Egress, EventInvokeConfig, FunctionVersion
from forerun.storage.event_invoke import EventInvokeStore
from forerun.storage.functions import LATEST, FunctionRecord
from forerun.storage.once import OnceConfig
from forerun.storage.policies import PolicyStore
from forerun.traces import AUTO

FUNCTIONS = 10_000
QUALIFIERS = 64
LOAD_SECONDS = 30.0


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What a call to ``NAME[:QUALIFIER]`` means.

    ``qualifier`` is the one called, ``None`` without; ``reserved`` the function's reserved concurrency; ``policy`` the
    resource policy of exactly that qualifier; ``recursion`` ``Allow`` or ``Terminate``;
    ``deferrable_s`` how many seconds its events may wait; ``once`` how it runs once, if it does.
    """

    function: FunctionVersion
    qualifier: str | None
    invoked_arn: str
    reserved: int | None = None
    event_config: EventInvokeConfig | None = None
    policy: Policy | None = None
    recursion: str = "Terminate"
    deferrable_s: int = 0
    once: OnceConfig | None = None


OnceOf = Callable[[str, str], Awaitable[OnceConfig | None]]
"""How the function of an account runs once."""

Split = tuple[tuple[float, Resolved], ...]
"""What serves a qualifier, each up to its bound in [0, 1); the last one takes the rest."""


def pick_version(split: Sequence[tuple[float, Resolved]], pick: float) -> Resolved:
    """The one that a number in [0, 1) falls to."""
    for bound, resolved in split:
        if pick < bound:
            return resolved
    return split[-1][1]


def bounds_of(version: str, weights: Mapping[str, float]) -> list[tuple[float, str]]:
    """Upper bounds of an alias's versions in [0, 1]: the further ones by their weight, its own version the rest."""
    bounds: list[tuple[float, str]] = []
    total = 0.0
    for further, weight in weights.items():
        total += weight
        bounds.append((total, further))
    return [*bounds, (1.0, version)]


class Registry:
    """Resolves; safe for many callers at once. ``forget`` is to be told of every change (``Changes.listen``)."""

    def __init__(
        self,
        *,
        lookup: Lookup,
        policies: PolicyStore,
        event_configs: EventInvokeStore,
        egress: Egress,
        functions: int = FUNCTIONS,
    ) -> None:
        self._lookup = lookup
        self._policies = policies
        self._event_configs = event_configs
        self._egress = egress
        self._most = functions
        self._once_of: OnceOf | None = None
        self._known: OrderedDict[tuple[str, str], dict[str | None, Split]] = OrderedDict()
        self._loading: dict[tuple[str, str], dict[str | None, asyncio.Future[Split | None]]] = {}

    def connect(self, once_of: OnceOf) -> None:
        """From now on functions are resolved with how they run once."""
        self._once_of = once_of
        self.clear()

    def peek(self, account: str, name: str, qualifier: str | None, pick: float) -> Resolved | None:
        """What is remembered; ``None`` when it has to be resolved."""
        key = (account, name)
        known = self._known.get(key)
        if known is None:
            return None
        split = known.get(qualifier)
        if split is None:
            return None
        self._known.move_to_end(key)
        return split[0][1] if len(split) == 1 else pick_version(split, pick)

    def shares(
        self, account: str, name: str, qualifier: str | None
    ) -> list[tuple[float, Resolved]] | None:
        """What a name means and the share of its calls that each gets, as remembered; ``None`` when it has to be resolved."""
        known = self._known.get((account, name))
        split = None if known is None else known.get(qualifier)
        if split is None:
            return None
        before, shares = 0.0, []
        for bound, resolved in split:
            shares.append((bound - before, resolved))
            before = bound
        return shares

    async def resolve(
        self, account: str, name: str, qualifier: str | None, pick: float
    ) -> Resolved:
        """What a call means; ``pick`` in [0, 1) chooses among an alias's versions.

        Raises ``NotFound`` as AWS says it, and ``StorageFailed`` when the function's environment cannot be opened.
        """
        while True:
            known = self.peek(account, name, qualifier, pick)
            if known is not None:
                return known
            loading = self._loading.setdefault((account, name), {})
            future = loading.get(qualifier)
            if future is None:
                return pick_version(await self._load(account, name, qualifier, loading), pick)
            async with asyncio.timeout(LOAD_SECONDS):
                split = await asyncio.shield(future)
            if split is not None:
                return pick_version(split, pick)
            # Whoever was reading it was cancelled; it is this caller's turn.

    def forget(self, account: str, name: str, _retired: Sequence[str] = ()) -> None:
        """Something about the function changed: what was remembered, or is being read, is not used again."""
        self._known.pop((account, name), None)
        self._loading.pop((account, name), None)

    def clear(self) -> None:
        """Anything may have changed."""
        self._known.clear()
        self._loading.clear()

    async def _load(
        self,
        account: str,
        name: str,
        qualifier: str | None,
        loading: dict[str | None, "asyncio.Future[Split | None]"],
    ) -> Split:
        key = (account, name)
        future: asyncio.Future[Split | None] = asyncio.get_running_loop().create_future()
        # Most loads have no second waiter: a failure that nobody else looks at is not worth a warning.
        future.add_done_callback(asyncio.Future.exception)
        loading[qualifier] = future
        try:
            split = await self._read(account, name, qualifier)
        except asyncio.CancelledError:
            future.set_result(None)
            raise
        except Exception as error:
            future.set_exception(error)
            raise
        else:
            future.set_result(split)
            if self._loading.get(key) is loading:
                self._remember(key, qualifier, split)
        finally:
            loading.pop(qualifier, None)
            if not loading and self._loading.get(key) is loading:
                del self._loading[key]
        return split

    def _remember(self, key: tuple[str, str], qualifier: str | None, split: Split) -> None:
        known = self._known.setdefault(key, {})
        if len(known) >= QUALIFIERS:
            known.clear()
        known[qualifier] = split
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    async def _read(self, account: str, name: str, qualifier: str | None) -> Split:
        policy = await self._policies.find(account, name, qualifier or "")
        event_config = await self._event_configs.find(account, name, qualifier or LATEST)
        once = await self._once_of(account, name) if self._once_of is not None else None
        versions = [(1.0, qualifier or LATEST)]
        if qualifier is not None and qualifier != LATEST and not NUMBER.fullmatch(qualifier):
            alias = await self._lookup.find_alias(account, name, qualifier)
            if alias is None:
                raise self._lookup.missing(account, name, qualifier)
            versions = bounds_of(alias.version, alias.weights)
        split: list[tuple[float, Resolved]] = []
        for bound, version in versions:
            record, found = await self._lookup.version(account, name, version)
            resolved = Resolved(
                function=self._with_tags(record, found.function),
                qualifier=qualifier,
                invoked_arn=self._lookup.arn(account, name, qualifier),
                reserved=record.reserved,
                event_config=event_config,
                policy=_compiled(policy.statements) if policy else None,
                recursion=record.recursion,
                deferrable_s=int(record.tags.get(DEFERRABLE_TAG, "0")),
                once=once,
            )
            split.append((bound, resolved))
        return tuple(split)

    def _with_tags(self, record: FunctionRecord, function: FunctionVersion) -> FunctionVersion:
        """The function with what its tags say; sandboxes of another network policy, or meant for another place, are none of its."""
        if function.environment_error:
            raise StorageFailed(
                f"The environment variables of {function.qualified_arn} cannot be decrypted; set them anew, or "
                "restore the key file that belongs to this database."
            )
        egress = Egress(record.tags.get(EGRESS_TAG, self._egress))
        zone, isolation = record.tags.get(ZONE_TAG, ""), record.tags.get(ISOLATION_TAG, "")
        where = f".{isolation}@{zone}" if zone or isolation else ""
        return msgspec.structs.replace(
            function,
            egress=egress,
            monitoring=record.tags.get(MONITORING_TAG, AUTO),
            zone=zone,
            isolation=isolation,
            sandbox_key=f"{function.sandbox_key}.{egress}{where}",
        )


def _compiled(statements: list[dict[str, object]]) -> Policy:
    return parse_policy({"Version": "2012-10-17", "Statement": statements}, PolicyKind.RESOURCE)
