"""What is special about the model of SQS: it describes JSON only, and not what its clients also say.

Older clients still send ``Action=...`` and read XML. The names that dialect uses on the wire are not in the model
any more; this puts them back. Other JSON services get the plain dialect, unchanged names.
"""

from collections.abc import Mapping
from typing import Any

_NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"

_MEMBER_NAMES = {
    "AWSAccountIds": "AWSAccountId",
    "Actions": "ActionName",
    "AttributeNames": "AttributeName",
    "Attributes": "Attribute",
    "BinaryListValues": "BinaryListValue",
    "MessageAttributeNames": "MessageAttributeName",
    "MessageAttributes": "MessageAttribute",
    "MessageSystemAttributeNames": "MessageSystemAttributeName",
    "MessageSystemAttributes": "MessageSystemAttribute",
    "Messages": "Message",
    "QueueUrls": "QueueUrl",
    "Results": "ListMessageMoveTasksResultEntry",
    "StringListValues": "StringListValue",
    "TagKeys": "TagKey",
    "Tags": "Tag",
    "queueUrls": "QueueUrl",
    "tags": "Tag",
}
_NAMED_BY_ELEMENT = frozenset({"Entries", "Successful", "Failed"})


# Checked by the service, which has words of its own for a name that is none; the model even forgets some that clients use.
_NAMES_OF_ATTRIBUTES = ("QueueAttributeName", "MessageSystemAttributeName")


def with_free_names(document: Mapping[str, Any]) -> dict[str, Any]:
    """The model of SQS with any text as the name of an attribute; ``document`` is not changed."""
    free = {name: {"type": "string"} for name in _NAMES_OF_ATTRIBUTES}
    return {**document, "shapes": {**document["shapes"], **free}}


def as_query(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same model in the query protocol; ``document`` is not changed."""
    metadata = {**document["metadata"], "protocol": "query"}
    operations = document["operations"]
    shapes = document["shapes"]
    if metadata.get("serviceId") == "SQS":
        metadata["xmlNamespace"] = _NAMESPACE
        shapes = {name: _renamed(name, shape, shapes) for name, shape in shapes.items()}
    operations = {name: _wrapped(name, traits) for name, traits in operations.items()}
    return {**document, "metadata": metadata, "operations": operations, "shapes": shapes}


def _wrapped(name: str, traits: Mapping[str, Any]) -> dict[str, Any]:
    if "output" not in traits:
        return dict(traits)
    return {**traits, "output": {**traits["output"], "resultWrapper": f"{name}Result"}}


def _renamed(name: str, shape: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, Any]:
    if shape["type"] == "map":
        names = ("Key", "Value") if name == "TagMap" else ("Name", "Value")
        key, value = (
            {**shape[side], "locationName": wire}
            for side, wire in zip(("key", "value"), names, strict=True)
        )
        return {**shape, "key": key, "value": value}
    if shape["type"] != "structure":
        return dict(shape)
    members = {}
    for member, ref in shape["members"].items():
        wire = _MEMBER_NAMES.get(member)
        if member in _NAMED_BY_ELEMENT:
            wire = shapes[ref["shape"]]["member"]["shape"]
        members[member] = {**ref, "locationName": wire} if wire else ref
    return {**shape, "members": members}
