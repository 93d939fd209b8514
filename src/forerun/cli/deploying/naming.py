"""What a resource is called that the template does not name. Pure.

The name is made of the stack's and the resource's own, so that deploying again finds what was made before.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from forerun.cli.failures import Failure


class Naming(NamedTuple):
    """The property that names a resource of some type, and how long a name may be."""

    member: str
    longest: int = 64


_NAMINGS: Mapping[str, Naming] = {
    "AWS::Lambda::Function": Naming("FunctionName"),
    "AWS::Lambda::LayerVersion": Naming("LayerName"),
    "AWS::IAM::Role": Naming("RoleName"),
    "AWS::SQS::Queue": Naming("QueueName", 80),
    "AWS::SNS::Topic": Naming("TopicName", 256),
    "AWS::Events::EventBus": Naming("Name", 256),
    "AWS::Events::Rule": Naming("Name"),
    "AWS::Scheduler::Schedule": Naming("Name"),
    "AWS::Scheduler::ScheduleGroup": Naming("Name"),
    "AWS::S3::Bucket": Naming("BucketName", 63),
}
_FIFO = {"AWS::SQS::Queue": "FifoQueue", "AWS::SNS::Topic": "FifoTopic"}


def physical_name(
    stack: str, account: str, logical_id: str, kind: str, properties: Mapping[str, Any]
) -> str:
    """The given name, or one that is the same at each deployment of the stack."""
    naming = _NAMINGS.get(kind, Naming(""))
    if (given := properties.get(naming.member)) is not None:
        if not isinstance(given, str) or not given:
            raise Failure(f"{logical_id}.{naming.member} must be a text, not {given!r}.")
        return given
    name = f"{stack}-{logical_id}"
    if kind == "AWS::S3::Bucket":
        # Buckets of all accounts share their names.
        lower = re.sub(r"[^a-z0-9-]", "-", name.lower())
        return f"{lower[:53].strip('-')}-{_digest(f'{account}/{name}')}"
    ordered = str(properties.get(_FIFO.get(kind, ""), "false")).lower() == "true"
    suffix = ".fifo" if ordered else ""
    longest = naming.longest - len(suffix)
    if len(name) > longest:
        name = f"{name[: longest - 9]}-{_digest(name)}"
    return name + suffix


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
