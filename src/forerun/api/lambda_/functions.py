"""Functions: create, get, update, delete, list."""

from collections.abc import Callable
from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members, plain
from forerun.api.lambda_.packages import PackageSource
from forerun.api.lambda_.shapes import configuration, function_of, listing, unqualified
from forerun.control.configuration import Change
from forerun.control.functions import CodeUpdate, Functions
from forerun.errors import Unsupported
from forerun.model import FunctionVersion

# Known to AWS's clients, not served here: refused by name, so that nobody believes to have what he has not.
_UNSERVED = {
    "TenancyConfig": "Tenant isolation is",
    "DurableConfig": "Durable execution is",
    "CapacityProviderConfig": "Running on capacity providers is",
    "AcceleratorConfig": "Accelerators are",
    "RuntimeConfig": "Runtimes by ARN are",
    "PublishTo": "Publishing to $LATEST.PUBLISHED is",
    "ImageConfig": "Container images are",
    "ImageUri": "Container images are",
    "SourceKMSKeyArn": "Packages encrypted with a key of KMS are",
    "CodeSigningConfigArn": "Code signing is",
}


def routes(
    functions: Functions,
    code_location: Callable[[FunctionVersion], str],
    packages: PackageSource,
) -> dict[str, Handler]:
    """Handlers by operation; ``code_location`` gives the URL where a version's package can be fetched."""
    resource = _Functions(functions, code_location, packages)
    return {
        "CreateFunction": resource.create,
        "GetFunction": resource.get,
        "GetFunctionConfiguration": resource.get_configuration,
        "UpdateFunctionCode": resource.update_code,
        "UpdateFunctionConfiguration": resource.update_configuration,
        "DeleteFunction": resource.delete,
        "ListFunctions": resource.page,
    }


class _Functions:
    def __init__(
        self,
        functions: Functions,
        code_location: Callable[[FunctionVersion], str],
        packages: PackageSource,
    ) -> None:
        self._functions = functions
        self._packages = packages
        self._code_location = code_location

    async def create(self, caller: Caller, request: Any) -> Members:
        _require_served(request)
        if request.PackageType == "Image":
            raise Unsupported(
                "PackageType Image is not served yet; give a zip package (PackageType Zip)"
            )
        _require_served(request.Code)
        function = unqualified(caller, request)
        made = await self._functions.create(
            function.account,
            function.name,
            _change(request),
            await self._packages.read(caller, request.Code),
            publish=bool(request.Publish),
            tags=request.Tags or {},
        )
        return configuration(made)

    async def get(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        record, function = await self._functions.get(account, name, qualifier)
        return {
            "Configuration": configuration(function, qualifier),
            "Code": {"RepositoryType": "S3", "Location": self._code_location(function)},
            "Tags": record.tags or None,
            "Concurrency": None
            if record.reserved is None
            else {"ReservedConcurrentExecutions": record.reserved},
        }

    async def get_configuration(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        _, function = await self._functions.get(account, name, qualifier)
        return configuration(function, qualifier)

    async def update_code(self, caller: Caller, request: Any) -> Members:
        _require_served(request)
        account, name, _ = unqualified(caller, request)
        update = CodeUpdate(
            package=await self._packages.read(caller, request),
            architectures=tuple(request.Architectures) if request.Architectures else None,
            publish=bool(request.Publish),
            dry_run=bool(request.DryRun),
        )
        function = await self._functions.update_code(
            account, name, update, revision=request.RevisionId
        )
        return configuration(function)

    async def update_configuration(self, caller: Caller, request: Any) -> Members:
        _require_served(request)
        account, name, _ = unqualified(caller, request)
        function = await self._functions.update_configuration(
            account, name, _change(request), revision=request.RevisionId
        )
        return configuration(function)

    async def delete(self, caller: Caller, request: Any) -> Members:
        account, name, qualifier = function_of(caller, request)
        await self._functions.delete(account, name, qualifier)
        return {"StatusCode": 204}

    async def page(self, caller: Caller, request: Any) -> Members:
        every = request.FunctionVersion == "ALL"
        page = await self._functions.page(
            caller.account, request.Marker, request.MaxItems, all_versions=every
        )
        return listing(
            "Functions",
            page,
            lambda function: configuration(function, function.version if every else None),
        )


def _require_served(request: Any) -> None:
    for member, feature in _UNSERVED.items():
        if getattr(request, member, None) is not None:
            raise Unsupported(f"{feature} not served yet; leave {member} out")


def _change(request: Any) -> Change:
    environment = request.Environment
    dead_letters = request.DeadLetterConfig
    return Change(
        runtime=request.Runtime,
        handler=request.Handler,
        role=request.Role,
        description=request.Description,
        timeout_s=request.Timeout,
        memory_mb=request.MemorySize,
        ephemeral_mb=request.EphemeralStorage.Size if request.EphemeralStorage else None,
        environment=(environment.Variables or {}) if environment else None,
        layers=tuple(request.Layers) if request.Layers is not None else None,
        tracing_mode=request.TracingConfig.Mode if request.TracingConfig else None,
        snap_start=request.SnapStart.ApplyOn if request.SnapStart else None,
        logging=plain(request.LoggingConfig) if request.LoggingConfig else None,
        dead_letter_arn=(dead_letters.TargetArn or "") if dead_letters else None,
        kms_key_arn=request.KMSKeyArn,
        vpc=plain(request.VpcConfig) if request.VpcConfig else None,
        file_systems=tuple(plain(request.FileSystemConfigs))
        if request.FileSystemConfigs is not None
        else None,
        architectures=tuple(request.Architectures)
        if getattr(request, "Architectures", None)
        else None,
    )
