"""What sandboxes of a version are made for, from what the version is: one value for all of its calls."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from forerun.model import FunctionVersion, SandboxSpec

MOST = 10_000


class Trees(Protocol):
    """Where unpacked code lies on this host."""

    def path(self, digest: str) -> str:
        """Absolute path of an unpacked tree."""
        ...


class Specs:
    """Remembers those that were asked for, at most ``MOST``."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._specs: dict[str, SandboxSpec] = {}
        self._zygote: Callable[[SandboxSpec], str] = _usual

    def prefer(self, zygote: Callable[[SandboxSpec], str]) -> None:
        """New sandboxes come from the pools with these endings from now on, which are empty where the usual one is best."""
        self._zygote = zygote
        for key, spec in self._specs.items():
            if spec.zygote != (ending := zygote(spec)):
                self._specs[key] = msgspec.structs.replace(spec, zygote=ending)

    def serving(self, key: str) -> SandboxSpec | None:
        """What sandboxes of that key serve; ``None`` for what was not called in a long time."""
        return self._specs.get(key)

    def of(self, function: FunctionVersion) -> SandboxSpec:
        """What sandboxes of this version serve."""
        spec = self._specs.get(function.sandbox_key)
        if spec is None:
            if len(self._specs) >= MOST:
                self._specs.clear()
            made = self._made(function)
            if ending := self._zygote(made):
                made = msgspec.structs.replace(made, zygote=ending)
            spec = self._specs[function.sandbox_key] = made
        return spec

    def _made(self, function: FunctionVersion) -> SandboxSpec:
        layers = function.layers_digest
        return SandboxSpec(
            key=function.sandbox_key,
            account=function.account,
            region=function.region,
            name=function.name,
            version=function.version,
            function_arn=function.arn,
            role=function.role,
            runtime=function.runtime,
            handler=function.handler,
            memory_mb=function.memory_mb,
            ephemeral_mb=function.ephemeral_mb,
            timeout_s=function.timeout_s,
            environment=function.environment,
            code_dir=self._trees.path(function.code_digest),
            layers_dir=self._trees.path(layers) if layers else None,
            egress=function.egress,
            logging=function.logging,
            log_stream="",
            snap_start=function.snap_start and function.version != "$LATEST",
            uses_sdk=function.uses_sdk,
            zone=function.zone,
            isolation=function.isolation,
        )


def _usual(_: SandboxSpec) -> str:
    return ""
