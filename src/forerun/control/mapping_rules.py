"""What may be asked of an event source mapping: of each kind of source only what is really done. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from forerun.control.delivery.filtering import compile_filters
from forerun.control.rules import require_one_of, require_range
from forerun.errors import InvalidInput, Unsupported
from forerun.model import Arn

LARGEST_BATCH = 10_000
LONGEST_WINDOW_S = 300
FIFO_BATCH = 10
REPORT = "ReportBatchItemFailures"

Config = Mapping[str, Any]


class Kind(NamedTuple):
    """A kind of source. ``members`` of AWS's request are those that have an effect; ``defaults`` hold without them."""

    members: frozenset[str]
    defaults: Config
    check: Callable[[str, Config], None]


def _check_queue(source: str, config: Config) -> None:
    size, window = config["BatchSize"], config["MaximumBatchingWindowInSeconds"]
    if source.endswith(".fifo"):
        if size > FIFO_BATCH:
            raise InvalidInput(
                f"Batch size is invalid: it must be at most {FIFO_BATCH} for FIFO queues, not {size}."
            )
        if window:
            raise InvalidInput("Batching window is not supported for FIFO queues.")
    elif size > 10 and window == 0:
        raise InvalidInput(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )


SERVED: Mapping[str, Kind] = {
    "sqs": Kind(
        members=frozenset(
            {
                "BatchSize",
                "MaximumBatchingWindowInSeconds",
                "FilterCriteria",
                "FunctionResponseTypes",
                "ScalingConfig",
                "MetricsConfig",
            }
        ),
        defaults={"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0},
        check=_check_queue,
    ),
}
"""By the service in the source's ARN."""

# What AWS serves and this platform does not yet, as its users would name it.
_NOT_YET = {
    "kinesis": "Kinesis streams",
    "dynamodb": "DynamoDB streams",
    "kafka": "Amazon MSK clusters",
    "mq": "Amazon MQ brokers",
    "rds": "DocumentDB clusters",
}
_NOT_YET_MEMBERS = {"ProvisionedPollerConfig", "KMSKeyArn", "LoggingConfig"}


def kind_of(source: str | None, config: Config) -> Kind:
    """The kind of a source, by its ARN; ``Unsupported`` names what is not served yet, ``InvalidInput`` what is no source."""
    if not source:
        if "SelfManagedEventSource" in config:
            raise Unsupported(
                "Event source mappings of self-managed Apache Kafka are not served yet; those of SQS queues are."
            )
        raise InvalidInput("Unrecognized event source: give EventSourceArn.")
    service = Arn.parse(source).service
    kind = SERVED.get(service)
    if kind is not None:
        return kind
    if service in _NOT_YET:
        raise Unsupported(
            f"Event source mappings of {_NOT_YET[service]} ({service}) are not served yet; those of SQS queues are."
        )
    raise InvalidInput(f"Unrecognized event source: {source}")


def check(kind: Kind, source: str, config: Config) -> None:
    """``InvalidInput`` or ``Unsupported`` for a member that is wrong, or would have no effect."""
    for member in sorted(config.keys() - kind.members):
        if member in _NOT_YET_MEMBERS:
            raise Unsupported(f"{member} of event source mappings is not served yet.")
        raise InvalidInput(f"Unsupported {member} parameter for given event source mapping type.")
    require_range("batchSize", config["BatchSize"], 1, LARGEST_BATCH)
    require_range(
        "maximumBatchingWindowInSeconds",
        config["MaximumBatchingWindowInSeconds"],
        0,
        LONGEST_WINDOW_S,
    )
    kind.check(source, config)
    for answer in config.get("FunctionResponseTypes") or ():
        require_one_of("functionResponseTypes", answer, (REPORT,))
    most = (config.get("ScalingConfig") or {}).get("MaximumConcurrency")
    if most is not None:
        require_range("scalingConfig.maximumConcurrency", most, 2, 1000)
    compile_filters(config.get("FilterCriteria"))
