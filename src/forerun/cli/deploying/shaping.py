"""Values of templates in the types that an API takes, by botocore's model of it; and whether two of them say the same. Pure.

Templates are loose: a number may be a text, a policy an object or a text of JSON. The API is not.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from forerun.cli.failures import Failure

_EMPTY: tuple[Any, ...] = (None, "", {}, [])


def fit(shape: Any, value: Any, where: str) -> Any:
    """``value`` in the types of botocore's ``shape``; ``Failure`` naming ``where`` it does not fit."""
    convert = _CONVERSIONS.get(shape.type_name)
    if convert is None:
        raise Failure(f"{where} cannot be given in a template.")
    return convert(shape, value, where)


def fit_members(
    client: Any, operation: str, given: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The arguments of an operation of a botocore client, by AWS's names; what is ``None`` is left out."""
    shape = client.meta.service_model.operation_model(operation).input_shape
    return {
        key: fit(shape.members[key], value, f"{where}.{key}")
        for key, value in given.items()
        if value is not None
    }


def text(value: Any) -> str:
    """A value as attributes of queues and topics are written: objects as JSON, truth as ``true``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"))
    return "" if value is None else str(value)


def texts(value: Any, where: str) -> list[str]:
    """``value``, which must be a list of texts."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    raise Failure(f"{where} must be a list of texts, not {value!r}.")


def an_object(value: Any, where: str) -> dict[str, Any]:
    """``value``, which must be an object, or nothing."""
    if value is None or isinstance(value, dict):
        return value or {}
    raise Failure(f"{where} must be an object, not {value!r}.")


def objects(value: Any, where: str) -> list[dict[str, Any]]:
    """``value``, which must be a list of objects, or nothing."""
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return value
    raise Failure(f"{where} must be a list of objects, not {value!r}.")


def alike(one: Any, other: Any) -> bool:
    """Whether two values mean the same: texts of JSON are read, numbers and truth are texts, what is empty is nothing."""
    return bool(_plain(one) == _plain(other))


def same_json(one: Any, other: Any) -> bool:
    """Whether two documents are the same, each an object or its text; in patterns ``1`` is not ``"1"``."""
    return _document(one) == _document(other)


def tags_of(given: Any, where: str) -> dict[str, str]:
    """Tags of a template, a list of ``Key`` and ``Value``, by key."""
    try:
        return {str(each["Key"]): text(each["Value"]) for each in given or ()}
    except (TypeError, KeyError):
        raise Failure(f"{where}.Tags must be a list of Key and Value.") from None


def _document(value: Any) -> str:
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except ValueError:
            return text(value)
    return json.dumps(value or None, sort_keys=True)


def _structure(shape: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Failure(f"{where} must be an object, not {value!r}.")
    found = {}
    for key, item in value.items():
        if key not in shape.members:
            raise Failure(f"{where} has no {key}.")
        found[key] = fit(shape.members[key], item, f"{where}.{key}")
    return found


def _list(shape: Any, value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise Failure(f"{where} must be a list, not {value!r}.")
    return [fit(shape.member, item, where) for item in value]


def _map(shape: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Failure(f"{where} must be an object, not {value!r}.")
    return {str(key): fit(shape.value, item, f"{where}.{key}") for key, item in value.items()}


def _whole(_shape: Any, value: Any, where: str) -> int:
    try:
        if not isinstance(value, bool):
            return int(str(value))
    except ValueError:
        pass
    raise Failure(f"{where} must be a whole number, not {value!r}.")


def _number(_shape: Any, value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Failure(f"{where} must be a number, not {value!r}.") from None


def _truth(_shape: Any, value: Any, where: str) -> bool:
    written = str(value).lower()
    if written not in {"true", "false"}:
        raise Failure(f"{where} must be true or false, not {value!r}.")
    return written == "true"


def _moment(_shape: Any, value: Any, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise Failure(f"{where} must be a time as 2027-01-31T08:00:00Z, not {value!r}.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_CONVERSIONS: Mapping[str, Callable[[Any, Any, str], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": lambda _shape, value, _where: text(value),
    "integer": _whole,
    "long": _whole,
    "float": _number,
    "double": _number,
    "boolean": _truth,
    "timestamp": _moment,
}


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if isinstance(value, Mapping):
        inner = {str(key): _plain(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in _EMPTY} or None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value] or None
    if isinstance(value, datetime):
        return value.timestamp()
    return text(value) or None
