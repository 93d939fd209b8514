"""Layers: publish, get, list, delete, and who else may use them."""

from collections.abc import Callable
from typing import Any

import msgspec

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members
from forerun.api.lambda_.packages import PackageSource
from forerun.api.lambda_.shapes import listing, moment
from forerun.control.layers import LayerDescription, LayerGrant, Layers
from forerun.storage.layers import LayerVersion

Location = Callable[[LayerVersion], str]


def routes(
    layers: Layers, content_location: Location, packages: PackageSource
) -> dict[str, Handler]:
    """Handlers by operation; ``content_location`` gives the URL where a layer's package can be fetched."""
    resource = _Layers(layers, content_location, packages)
    return {
        "PublishLayerVersion": resource.publish,
        "GetLayerVersion": resource.get,
        "GetLayerVersionByArn": resource.get_by_arn,
        "ListLayerVersions": resource.versions,
        "ListLayers": resource.page,
        "DeleteLayerVersion": resource.delete,
        "AddLayerVersionPermission": resource.allow,
        "RemoveLayerVersionPermission": resource.disallow,
        "GetLayerVersionPolicy": resource.policy,
    }


class _Layers:
    def __init__(self, layers: Layers, content_location: Location, packages: PackageSource) -> None:
        self._layers = layers
        self._packages = packages
        self._content_location = content_location

    async def publish(self, caller: Caller, request: Any) -> Members:
        layer = await self._layers.publish(
            caller.account,
            request.LayerName,
            await self._packages.read(caller, request.Content),
            LayerDescription(
                description=request.Description or "",
                license=request.LicenseInfo or "",
                runtimes=tuple(request.CompatibleRuntimes or ()),
                architectures=tuple(request.CompatibleArchitectures or ()),
            ),
        )
        return self._shown(layer)

    async def get(self, caller: Caller, request: Any) -> Members:
        layer = await self._layers.get(caller.account, request.LayerName, request.VersionNumber)
        return self._shown(layer)

    async def get_by_arn(self, caller: Caller, request: Any) -> Members:
        return self._shown(await self._layers.by_arn(caller.account, request.Arn))

    async def versions(self, caller: Caller, request: Any) -> Members:
        page = await self._layers.versions(
            caller.account,
            request.LayerName,
            request.Marker,
            request.MaxItems,
            runtime=request.CompatibleRuntime,
            architecture=request.CompatibleArchitecture,
        )
        return listing("LayerVersions", page, _summary)

    async def page(self, caller: Caller, request: Any) -> Members:
        page = await self._layers.page(
            caller.account,
            request.Marker,
            request.MaxItems,
            runtime=request.CompatibleRuntime,
            architecture=request.CompatibleArchitecture,
        )
        return listing(
            "Layers",
            page,
            lambda layer: {
                "LayerName": layer.layer,
                "LayerArn": layer.layer_arn,
                "LatestMatchingVersion": _summary(layer),
            },
        )

    async def delete(self, caller: Caller, request: Any) -> Members:
        await self._layers.remove(caller.account, request.LayerName, request.VersionNumber)
        return {}

    async def allow(self, caller: Caller, request: Any) -> Members:
        statement, revision = await self._layers.allow(
            caller.account,
            request.LayerName,
            request.VersionNumber,
            LayerGrant(
                statement_id=request.StatementId,
                action=request.Action,
                principal=request.Principal,
                organization=request.OrganizationId,
            ),
            revision=request.RevisionId,
        )
        return {"Statement": msgspec.json.encode(statement).decode(), "RevisionId": revision}

    async def disallow(self, caller: Caller, request: Any) -> Members:
        await self._layers.disallow(
            caller.account,
            request.LayerName,
            request.VersionNumber,
            statement_id=request.StatementId,
            revision=request.RevisionId,
        )
        return {}

    async def policy(self, caller: Caller, request: Any) -> Members:
        policy = await self._layers.policy(caller.account, request.LayerName, request.VersionNumber)
        document = {"Version": "2012-10-17", "Id": "default", "Statement": policy.statements}
        return {
            "Policy": msgspec.json.encode(document).decode(),
            "RevisionId": policy.revision,
        }

    def _shown(self, layer: LayerVersion) -> Members:
        return _summary(layer) | {
            "LayerArn": layer.layer_arn,
            "Content": {
                "Location": self._content_location(layer),
                "CodeSha256": layer.code_sha256,
                "CodeSize": layer.code_size,
            },
        }


def _summary(layer: LayerVersion) -> Members:
    return {
        "LayerVersionArn": layer.arn,
        "Version": layer.version,
        "Description": layer.description,
        "CreatedDate": moment(layer.created),
        "CompatibleRuntimes": list(layer.runtimes) or None,
        "CompatibleArchitectures": list(layer.architectures) or None,
        "LicenseInfo": layer.license or None,
    }
