"""Everything users own, put together over one database and one directory of code."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from forerun.aio import Clock
from forerun.control.aliases import Aliases
from forerun.control.capacity.autoscaling import Autoscaling
from forerun.control.capacity.provisioned import Provisioned
from forerun.control.capacity.provisioning import Provisioning
from forerun.control.changes import Changes
from forerun.control.concurrency import Behaviour, Concurrency
from forerun.control.configuration import Machine
from forerun.control.event_invoke import EventInvokes
from forerun.control.following import FollowingRegistry, Others
from forerun.control.functions import CodeLimits, Functions
from forerun.control.layers import Layers
from forerun.control.lookup import Lookup
from forerun.control.mappings import Mappings
from forerun.control.packaging.code import CodeStore
from forerun.control.packaging.collector import CodeCollector
from forerun.control.packaging.packager import Packager
from forerun.control.permissions import Permissions
from forerun.control.registry import Registry
from forerun.control.tags import Tags
from forerun.control.urls import FunctionUrls
from forerun.control.versions import Versions
from forerun.model import Egress
from forerun.prediction import DeliveryCosts
from forerun.settings import LimitSettings, PackagingSettings, ScalingSettings
from forerun.storage.aliases import AliasStore
from forerun.storage.autoscaling import AutoscalingStore
from forerun.storage.code_references import CodeReferenceStore
from forerun.storage.db import Db
from forerun.storage.event_invoke import EventInvokeStore
from forerun.storage.functions import FunctionStore, Seal
from forerun.storage.layers import LayerStore
from forerun.storage.mappings import MappingStore
from forerun.storage.ownership import OwnershipStore
from forerun.storage.packaging import PackagingStore
from forerun.storage.policies import PolicyStore
from forerun.storage.provisioned import ProvisionedStore
from forerun.storage.urls import UrlStore
from forerun.storage.vault import NO_VAULT, Vault


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What the services stand on.

    ``machine`` tells what runtimes are installed when asked; ``url_for`` makes the URL of a function URL's id.
    ``others`` where other control planes change what is kept here. ``vault`` is where packages are besides ``directory``.
    """

    directory: Path
    region: str
    limits: LimitSettings
    egress: Egress
    machine: Callable[[], Machine]
    url_for: Callable[[str], str]
    clock: Clock
    others: Others | None = None
    vault: Vault = NO_VAULT
    packaging: PackagingSettings = PackagingSettings()
    scaling: ScalingSettings = ScalingSettings()


class Estate:
    """The services of the control room that keep what users own, and the registry that resolves it.

    ``start`` before use; ``sweep`` now and then.
    """

    def __init__(self, db: Db, seal: Seal, around: Surroundings) -> None:
        limits, clock, region = around.limits, around.clock, around.region
        store, aliases = FunctionStore(db, seal), AliasStore(db)
        events, policies, mappings = EventInvokeStore(db), PolicyStore(db), MappingStore(db)
        ownership, provisioned = OwnershipStore(db), ProvisionedStore(db)
        self.changes = changes = Changes()
        lookup = Lookup(functions=store, aliases=aliases, region=region)
        self.code = CodeStore(
            around.directory,
            clock=clock,
            zipped_limit=limits.code_zipped_bytes,
            unzipped_limit=limits.code_unzipped_bytes,
            share_accounts=around.packaging.share_accounts,
            vault=around.vault,
        )
        packaging, layers = PackagingStore(db), LayerStore(db)
        self.packager = Packager(
            store=packaging,
            functions=store,
            layers=layers,
            code=self.code,
            clock=clock,
            costs=_costs(around.packaging),
            grace_s=around.packaging.grace_s,
        )
        changes.listen(self.packager.changed)
        self._collector = CodeCollector(
            code=self.code,
            references=CodeReferenceStore(db),
            packaging=packaging,
            clock=clock,
        )
        self.layers = Layers(
            store=layers,
            ownership=ownership,
            code=self.code,
            clock=clock,
            region=region,
            storage_limit=limits.code_storage_bytes,
        )
        self.versions = Versions(store=store, lookup=lookup, changes=changes, clock=clock)
        self.functions = Functions(
            store=store,
            ownership=ownership,
            lookup=lookup,
            versions=self.versions,
            layers=self.layers,
            code=self.code,
            changes=changes,
            clock=clock,
            machine=around.machine,
            limits=CodeLimits(limits.code_unzipped_bytes, limits.code_storage_bytes),
        )
        self.aliases = Aliases(store=aliases, lookup=lookup, changes=changes)
        self.permissions = Permissions(store=policies, lookup=lookup, changes=changes)
        self.concurrency = Concurrency(
            ownership=ownership,
            provisioned=provisioned,
            lookup=lookup,
            changes=changes,
            account_limit=limits.account_concurrency,
            unreserved_minimum=limits.unreserved_concurrency,
        )
        self.provisioned = Provisioned(
            store=provisioned,
            lookup=lookup,
            changes=changes,
            clock=clock,
            account_limit=limits.account_concurrency,
            unreserved_minimum=limits.unreserved_concurrency,
        )
        self.behaviour = Behaviour(ownership=ownership, lookup=lookup, changes=changes)
        self.event_invokes = EventInvokes(store=events, lookup=lookup, changes=changes, clock=clock)
        self.urls = FunctionUrls(
            store=UrlStore(db),
            lookup=lookup,
            changes=changes,
            clock=clock,
            url_for=around.url_for,
        )
        self.tags = Tags(lookup=lookup, ownership=ownership, mappings=mappings, changes=changes)
        self.mappings = Mappings(store=mappings, lookup=lookup, clock=clock)
        kind = Registry if around.others is None else FollowingRegistry
        self.registry = kind(
            lookup=lookup, policies=policies, event_configs=events, egress=around.egress
        )
        if around.others is not None and isinstance(self.registry, FollowingRegistry):
            self.registry.follow(around.others)
            self.urls.follow(around.others.behind)
        changes.listen(self.registry.forget)
        self.provisioning = Provisioning(self.provisioned, self.registry, clock)
        changes.listen(self.provisioning.changed)
        self.autoscaling = Autoscaling(
            store=AutoscalingStore(db),
            lookup=lookup,
            provisioned=self.provisioned,
            provisioning=self.provisioning,
            clock=clock,
            settings=around.scaling,
        )
        changes.listen(self.autoscaling.scaler.changed)

    async def start(self) -> None:
        """Make ready what lies on disk."""
        await self.code.start()

    def forget(self, account: str, name: str) -> None:
        """Another control plane changed something about a function."""
        self.registry.forget(account, name)
        self.urls.forget(account, name)

    def forget_all(self) -> None:
        """Others may have changed anything."""
        self.registry.clear()
        self.urls.clear()

    async def sweep(self) -> int:
        """Remove code that nothing refers to any more; how many packages that were."""
        removed = await self._collector.sweep()
        await self.packager.sweep()
        return removed


def _costs(settings: PackagingSettings) -> DeliveryCosts:
    return DeliveryCosts(
        bytes_per_s=settings.transfer_mb_s * 1e6,
        file_s=settings.file_ms / 1000,
        cached_by_one=settings.cached_by_one,
        least_others=settings.least_others,
    )
