"""Layers: packages that functions share, numbered and unchangeable like versions of functions."""

import re
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.control.packaging.code import CodeStore
from forerun.control.paging import Page, from_marker, page_size, to_page
from forerun.control.rules import ConstraintViolated, require_length, require_match, require_one_of
from forerun.control.statements import (
    POLICY_BYTES,
    principal_of,
    require_new_statement,
    without_statement,
)
from forerun.errors import (
    AccessDenied,
    CodeStorageExceeded,
    Conflict,
    InvalidInput,
    NotFound,
    PolicyTooLong,
    PreconditionFailed,
)
from forerun.model import Arn, layer_arn
from forerun.storage.layers import LayerPolicy, LayerStore, LayerVersion
from forerun.storage.ownership import OwnershipStore

LAYERS = 5
NEWEST = 2**62
RUNTIMES = 15
ARCHITECTURES = ("x86_64", "arm64")
ACTION = "lambda:GetLayerVersion"

_NAME = re.compile(r"[a-zA-Z0-9-_]{1,140}")
_STATEMENT_ID = re.compile(r"([a-zA-Z0-9-_]+)")
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}")


class LayerSet(NamedTuple):
    """The layers of one function: ARNs, sizes as uploaded, the merged tree's digest, bytes unpacked."""

    arns: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    digest: str | None = None
    unpacked_size: int = 0


class LayerDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a client says of a layer version."""

    description: str = ""
    license: str = ""
    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()


class LayerGrant(msgspec.Struct, frozen=True, kw_only=True):
    """Who else shall use a layer version."""

    statement_id: str
    action: str
    principal: str
    organization: str | None = None


class Layers:
    """Publishes, lists, shares and removes layer versions."""

    def __init__(
        self,
        *,
        store: LayerStore,
        ownership: OwnershipStore,
        code: CodeStore,
        clock: Clock,
        region: str,
        storage_limit: int,
    ) -> None:
        self._store = store
        self._ownership = ownership
        self._code = code
        self._clock = clock
        self._region = region
        self._storage_limit = storage_limit

    async def publish(
        self,
        account: str,
        name: str,
        package: bytes,
        about: LayerDescription,
    ) -> LayerVersion:
        """Store the next version of a layer."""
        name = self._own(account, name)
        require_length("description", about.description, 0, 256)
        require_length("licenseInfo", about.license, 0, 512)
        if len(about.runtimes) > RUNTIMES:
            raise InvalidInput(f"CompatibleRuntimes may have at most {RUNTIMES} items.")
        for architecture in about.architectures:
            require_one_of("compatibleArchitectures", architecture, ARCHITECTURES)
        usage = await self._ownership.usage(account)
        if usage.code_bytes + len(package) > self._storage_limit:
            raise CodeStorageExceeded("Code storage limit exceeded.")
        stored = await self._code.put(package, account)
        return await self._store.publish(
            LayerVersion(
                account=account,
                region=self._region,
                layer=name,
                description=about.description,
                license=about.license,
                runtimes=about.runtimes,
                architectures=about.architectures,
                code_sha256=stored.sha256,
                code_digest=stored.digest,
                code_size=stored.size,
                unpacked_size=stored.unpacked_size,
                created=self._clock.now(),
            )
        )

    async def get(self, account: str, name: str, version: int) -> LayerVersion:
        """A version that the account owns or was allowed to use."""
        owner, name = self._named(account, name)
        if version < 1:
            raise InvalidInput("Layer Version Number must be greater than zero.")
        layer = await self._store.find(owner, name, version) if version <= NEWEST else None
        if layer is None:
            if owner != account:
                raise self._denied(layer_arn(self._region, owner, name, version))
            raise NotFound("The resource you requested does not exist.")
        if owner != account:
            policy = await self._store.policy(owner, name, version)
            if policy is None or not _shared(policy.statements, account):
                raise self._denied(layer.arn)
        return layer

    async def by_arn(self, account: str, arn: str) -> LayerVersion:
        """The version that an ARN names."""
        owner, name, version = self._parse(arn)
        return await self.get(account, layer_arn(self._region, owner, name), version)

    async def versions(
        self,
        account: str,
        name: str,
        marker: str | None,
        limit: int | None,
        *,
        runtime: str | None = None,
        architecture: str | None = None,
    ) -> Page[LayerVersion]:
        """Versions of a layer, newest first, only those said to be compatible if that is asked."""
        name = self._own(account, name)
        [below] = from_marker(marker, (NEWEST,))
        size = page_size(limit)
        found: list[LayerVersion] = []
        while len(found) <= size:
            step = await self._store.versions(account, name, int(below), size + 1)
            found += [layer for layer in step if _compatible(layer, runtime, architecture)]
            if len(step) <= size:
                break
            below = step[-1].version
        return to_page(found, [(layer.version,) for layer in found], size)

    async def page(
        self,
        account: str,
        marker: str | None,
        limit: int | None,
        *,
        runtime: str | None = None,
        architecture: str | None = None,
    ) -> Page[LayerVersion]:
        """The newest (compatible) version of each layer."""
        [after] = from_marker(marker, ("",))
        size = page_size(limit)
        found: list[LayerVersion] = []
        while len(found) <= size:
            names = await self._store.names(account, str(after), size + 1)
            for name in names:
                page = await self.versions(
                    account, name, None, 1, runtime=runtime, architecture=architecture
                )
                found += page.items
            if len(names) <= size:
                break
            after = names[-1]
        return to_page(found[: size + 1], [(layer.layer,) for layer in found], size)

    async def remove(self, account: str, name: str, version: int) -> None:
        """Delete a version, if it is there; functions that have it keep it."""
        await self._store.remove(account, self._own(account, name), version)

    async def resolve(self, account: str, arns: Sequence[str]) -> LayerSet:
        """The layers of a function in their order, as one tree.

        Raises ``InvalidInput`` for more than five, for two versions of one layer, for one that is not there.
        """
        if len(arns) > LAYERS:
            raise InvalidInput(f"Cannot reference more than {LAYERS} layers.")
        seen: dict[str, str] = {}
        layers = []
        for arn in arns:
            owner, name, version = self._parse(arn)
            unversioned = layer_arn(self._region, owner, name)
            if unversioned in seen:
                raise InvalidInput(
                    "Two different versions of the same layer are not allowed to be referenced in the same function. "
                    f"{seen[unversioned]} and {arn}"
                )
            seen[unversioned] = arn
            try:
                layers.append(await self.get(account, unversioned, version))
            except NotFound:
                raise InvalidInput(f"Layer version {arn} does not exist.") from None
        return LayerSet(
            tuple(layer.arn for layer in layers),
            tuple(layer.code_size for layer in layers),
            await self._code.merge([layer.code_digest for layer in layers]),
            sum(layer.unpacked_size for layer in layers),
        )

    async def policy(self, account: str, name: str, version: int) -> LayerPolicy:
        """Who else may use the version; ``NotFound`` when nobody was allowed."""
        layer = await self._owned(account, name, version)
        policy = await self._store.policy(account, layer.layer, version)
        if policy is None or not policy.statements:
            raise NotFound(f"No policy is associated with the given resource: {layer.arn}")
        return policy

    async def allow(
        self,
        account: str,
        name: str,
        version: int,
        grant: LayerGrant,
        *,
        revision: str | None = None,
    ) -> tuple[dict[str, Any], str]:
        """Let others use the version: the new statement and revision."""
        require_match("statementId", grant.statement_id, _STATEMENT_ID)
        require_one_of("action", grant.action, (ACTION,))
        if grant.organization is not None:
            require_match("organizationId", grant.organization, _ORGANIZATION)
            if grant.principal != "*":
                raise InvalidInput("OrganizationId is only allowed with Principal *.")
        layer, policy = await self._policy_to_change(account, name, version, revision)
        require_new_statement(policy.statements, grant.statement_id)
        statement: dict[str, Any] = {
            "Sid": grant.statement_id,
            "Effect": "Allow",
            "Principal": principal_of(grant.principal),
            "Action": grant.action,
            "Resource": layer.arn,
        }
        if grant.organization is not None:
            statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": grant.organization}}
        new = LayerPolicy(str(uuid.uuid4()), [*policy.statements, statement])
        if sum(len(str(item)) for item in new.statements) > POLICY_BYTES:
            raise PolicyTooLong("The final policy size is bigger than the limit (20480).")
        await self._store.set_policy(layer, new, old=policy.revision)
        return statement, new.revision

    async def disallow(
        self,
        account: str,
        name: str,
        version: int,
        *,
        statement_id: str,
        revision: str | None = None,
    ) -> None:
        """Take a statement back."""
        layer, policy = await self._policy_to_change(account, name, version, revision)
        left = without_statement(policy.statements, statement_id)
        await self._store.set_policy(
            layer, LayerPolicy(str(uuid.uuid4()), left), old=policy.revision
        )

    async def _policy_to_change(
        self, account: str, name: str, version: int, revision: str | None
    ) -> tuple[LayerVersion, LayerPolicy]:
        layer = await self._owned(account, name, version)
        policy = await self._store.policy(account, layer.layer, version)
        if policy is None:
            raise Conflict("The layer version was removed meanwhile.")
        if revision is not None and revision != policy.revision:
            raise PreconditionFailed(
                "The Revision Id provided does not match the latest Revision Id. "
                "Call the GetLayerPolicy API to retrieve the latest Revision Id"
            )
        return layer, policy

    async def _owned(self, account: str, name: str, version: int) -> LayerVersion:
        layer = await self._store.find(account, self._own(account, name), version)
        if layer is None:
            raise NotFound(
                f"Layer version {layer_arn(self._region, account, self._own(account, name), version)} does not exist."
            )
        return layer

    def _own(self, account: str, name: str) -> str:
        owner, name = self._named(account, name)
        if owner != account:
            raise self._denied(layer_arn(self._region, owner, name))
        return name

    def _named(self, account: str, text: str) -> tuple[str, str]:
        """Owner and name of what is a name or an unversioned ARN."""
        if not text.startswith("arn:"):
            require_match("layerName", text, _NAME)
            return account, text
        arn = Arn.parse(text)
        kind, _, name = arn.resource.partition(":")
        if arn.service != "lambda" or kind != "layer" or not _NAME.fullmatch(name):
            raise ConstraintViolated(
                f"1 validation error detected: Value '{text}' at 'layerName' failed to satisfy constraint: "
                "Member must be a layer's name or its ARN without version"
            )
        self._here(arn, text)
        return arn.account, name

    def _parse(self, text: str) -> tuple[str, str, int]:
        """Owner, name and version of a layer version's ARN."""
        arn = Arn.parse(text)
        kind, name, version = [*arn.resource.split(":"), "", ""][:3]
        if (
            arn.service != "lambda"
            or kind != "layer"
            or not _NAME.fullmatch(name)
            or not version.isdecimal()
            or arn.resource.count(":") != 2
            or len(version) > 18
        ):
            raise ConstraintViolated(
                f"1 validation error detected: Value '{text}' at 'layers' failed to satisfy constraint: "
                "Member must be the ARN of a layer version: arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION"
            )
        self._here(arn, text)
        return arn.account, name, int(version)

    def _here(self, arn: Arn, text: str) -> None:
        if arn.region != self._region:
            raise InvalidInput(
                f"Layer {text} is of region {arn.region}; this platform is {self._region}."
            )

    def _denied(self, arn: str) -> AccessDenied:
        return AccessDenied(
            f"You are not authorized to perform: {ACTION} on resource: {arn} "
            "because no resource-based policy allows the action"
        )


def _compatible(layer: LayerVersion, runtime: str | None, architecture: str | None) -> bool:
    return (runtime is None or runtime in layer.runtimes) and (
        architecture is None or architecture in layer.architectures
    )


def _shared(statements: list[dict[str, Any]], account: str) -> bool:
    """Whether the account may use the layer. There are no organizations here, so such grants reach nobody."""
    everybody = ("*", {"AWS": f"arn:aws:iam::{account}:root"})
    return any(
        statement["Principal"] in everybody and "Condition" not in statement
        for statement in statements
    )
