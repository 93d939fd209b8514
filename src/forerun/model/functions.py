"""What users own: one immutable configuration of a function, and what belongs to it."""

from enum import StrEnum

import msgspec

from forerun.model.names import function_arn


class Egress(StrEnum):
    """What a function's sandbox can reach over the network.

    ``NONE`` nothing; ``PLATFORM`` this platform's API only; ``OPEN`` also whatever the host can reach.
    """

    NONE = "none"
    PLATFORM = "platform"
    OPEN = "open"


class LoggingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a function's output is written: format ``Text`` or ``JSON``, levels (JSON only), log group."""

    group: str
    format: str = "Text"
    application_level: str = "INFO"
    system_level: str = "INFO"


class FunctionVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an invocation needs to know of ``NAME:VERSION``.

    ``version`` is ``$LATEST`` or a decimal number; a numbered version never changes. ``sandbox_key`` changes
    whenever code or configuration change: sandboxes with equal keys are interchangeable, others never.
    ``code_digest`` and ``layers_digest`` name unpacked trees in the code cache (hex SHA-256; ``None``: no layers).
    ``uses_sdk`` says that its Python imports the AWS SDK which the runtime brings. ``monitoring`` is the function's tag:
    ``auto``, ``on``, ``off``, or N for one execution in N. ``zone`` and ``isolation`` are where alone it may run, by its tags;
    empty where it does not matter. Times are epoch seconds.
    """

    account: str
    region: str
    name: str
    version: str
    sandbox_key: str
    revision_id: str
    runtime: str
    handler: str
    role: str
    code_sha256: str
    code_digest: str
    code_size: int
    uses_sdk: bool = False
    layers_digest: str | None = None
    layers: tuple[str, ...] = ()
    layer_sizes: tuple[int, ...] = ()
    description: str = ""
    timeout_s: int = 3
    memory_mb: int = 128
    ephemeral_mb: int = 512
    environment: dict[str, str] = {}
    environment_error: bool = False
    architectures: tuple[str, ...] = ("x86_64",)
    package_type: str = "Zip"
    snap_start: bool = False
    tracing_mode: str = "PassThrough"
    egress: Egress = Egress.PLATFORM
    monitoring: str = "auto"
    zone: str = ""
    isolation: str = ""
    logging: LoggingConfig
    dead_letter_arn: str | None = None
    kms_key_arn: str | None = None
    vpc: dict[str, object] | None = None
    file_systems: tuple[dict[str, str], ...] = ()
    last_modified: float = 0.0
    state: str = "Active"
    state_reason: str | None = None
    state_reason_code: str | None = None
    last_update_status: str = "Successful"

    @property
    def arn(self) -> str:
        """The ARN without qualifier for ``$LATEST``, else with the version."""
        version = None if self.version == "$LATEST" else self.version
        return function_arn(self.region, self.account, self.name, version)

    @property
    def qualified_arn(self) -> str:
        """The ARN that always ends in the version."""
        return function_arn(self.region, self.account, self.name, self.version)


class DestinationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the result of an asynchronous invocation goes: ARNs, or ``None``."""

    on_success: str | None = None
    on_failure: str | None = None


class EventInvokeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How asynchronous invocations of a qualifier are retried, aged out and reported."""

    max_retries: int = 2
    max_age_s: int = 21600
    destinations: DestinationConfig = DestinationConfig()
    last_modified: float = 0.0
