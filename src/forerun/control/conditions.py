"""IAM's condition operators: one comparison of a policy's values with what is known of a request. Pure.

A condition is compiled once and asked often. Keys are compared without regard to case. A key that the request does
not have makes a positive operator false and a negated one (``...NotEquals``) true; ``...IfExists`` makes both true.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from forerun.control.globs import Star, join_glob, split_glob

Context = Mapping[str, str | Sequence[str]]
"""What is known of a request: condition key in lower case to its value or values."""

Compare = Callable[[str, str, Context], bool]

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LITERALS = {"*": "*", "?": "?", "$": "$"}
_ISO = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?\Z")


class UnknownOperator(ValueError):
    """The condition operator does not exist."""


class Condition(NamedTuple):
    """``{"StringLike": {"aws:username": ["a*"]}}``, compiled: one operator, one key, its values."""

    key: str
    values: tuple[str, ...]
    compare: Compare
    negated: bool
    if_exists: bool
    qualifier: str

    def holds(self, context: Context) -> bool:
        """Whether the request meets this condition."""
        found = context.get(self.key)
        if found is None or (found == () and self.qualifier):
            return self._without_value()
        actual = (found,) if isinstance(found, str) else found
        if self.qualifier == "forallvalues":
            return all(self._one(value, context) for value in actual)
        if self.negated and not self.qualifier:
            return all(self._one(value, context) for value in actual)
        return any(self._one(value, context) for value in actual)

    def _without_value(self) -> bool:
        if self.qualifier == "forallvalues" or self.if_exists:
            return True
        return self.negated and self.qualifier != "foranyvalue"

    def _one(self, actual: str, context: Context) -> bool:
        return any(self.compare(actual, value, context) for value in self.values) != self.negated


class NullCondition(NamedTuple):
    """``{"Null": {key: "true"}}``: the key must be absent (``true``) or present (``false``)."""

    key: str
    absent: bool

    def holds(self, context: Context) -> bool:
        """Whether the request meets this condition."""
        return (self.key not in context) == self.absent


def compile_condition(
    operator: str, key: str, values: Sequence[str], *, variables: bool = True
) -> Condition | NullCondition:
    """One operator and key of a ``Condition`` block.

    ``variables``: whether ``${...}`` in values means a variable (policy version 2012-10-17). Raises
    ``UnknownOperator``, and ``ValueError`` when a value does not fit the operator.
    """
    qualifier, colon, name = operator.rpartition(":")
    qualifier = qualifier.lower()
    if colon and qualifier not in ("forallvalues", "foranyvalue"):
        raise UnknownOperator(operator)
    name = name.lower()
    if name == "null" and not colon:
        if len(values) != 1 or values[0].lower() not in ("true", "false"):
            raise ValueError("Null takes true or false")
        return NullCondition(key.lower(), values[0].lower() == "true")
    if_exists = name.endswith("ifexists")
    name = name.removesuffix("ifexists")
    negated = "not" in name
    family, check = _FAMILIES.get(name.replace("not", "", 1) if negated else name, (None, None))
    if family is None or check is None or (negated and name not in _NEGATED):
        raise UnknownOperator(operator)
    for value in values:
        if "${" not in value:
            check(value)
    compare = family if variables else _literally(family)
    return Condition(key.lower(), tuple(values), compare, negated, if_exists, qualifier)


def expand(text: str, context: Context) -> str | None:
    """``text`` with its policy variables replaced; ``None`` when one has no single value."""
    missing = False

    def replaced(match: re.Match[str]) -> str:
        nonlocal missing
        value = _variable(match[1], context)
        missing = missing or value is None
        return value or ""

    expanded = _VARIABLE.sub(replaced, text)
    return None if missing else expanded


def wildcard(text: str, context: Context | None = None) -> re.Pattern[str] | None:
    """A pattern for ``*`` and ``?`` in ``text``; variables are put in literally. ``None``: a variable has no value."""
    parts: list[str | Star] = []
    position = 0
    if context is not None:
        for match in _VARIABLE.finditer(text):
            value = _variable(match[1], context)
            if value is None:
                return None
            parts += [*split_glob(text[position : match.start()]), re.escape(value)]
            position = match.end()
    return re.compile(join_glob([*parts, *split_glob(text[position:])]), re.DOTALL)


def _variable(name: str, context: Context) -> str | None:
    if name in _LITERALS:
        return _LITERALS[name]
    key, comma, default = name.partition(",")
    value = context.get(key.strip().lower())
    if isinstance(value, str):
        return value
    return default.strip().strip("'") if comma else None


def _literally(compare: Compare) -> Compare:
    def compared(actual: str, value: str, _: Context) -> bool:
        return compare(actual, value.replace("${", "${$}{"), _)

    return compared


def _string_equals(actual: str, value: str, context: Context) -> bool:
    return actual == (expand(value, context) if "${" in value else value)


def _string_equals_ignore_case(actual: str, value: str, context: Context) -> bool:
    expected = expand(value, context)
    return expected is not None and actual.lower() == expected.lower()


def _string_like(actual: str, value: str, context: Context) -> bool:
    pattern = wildcard(value, context)
    return pattern is not None and pattern.fullmatch(actual) is not None


def _arn_like(actual: str, value: str, context: Context) -> bool:
    """Part by part: a wildcard does not reach over a colon, but in the last part."""
    if _string_equals(actual, value, context):
        return True
    wanted, given = value.split(":", 5), actual.split(":", 5)
    if "${" in value:
        pattern = wildcard(value, context)
        return pattern is not None and pattern.fullmatch(actual) is not None
    return len(wanted) == len(given) and all(
        _string_like(part, expected, {}) for part, expected in zip(given, wanted, strict=True)
    )


def _boolean(actual: str, value: str, _: Context) -> bool:
    return actual.lower() == value.lower()


def _ip_address(actual: str, value: str, _: Context) -> bool:
    try:
        return ipaddress.ip_address(actual) in ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False


def _ordered(read: Callable[[str], float], order: Callable[[float, float], bool]) -> Compare:
    def compared(actual: str, value: str, context: Context) -> bool:
        expected = expand(value, context)
        try:
            return expected is not None and order(read(actual), read(expected))
        except (ValueError, OverflowError):
            return False

    return compared


def _moment(text: str) -> float:
    """Epoch seconds of an ISO 8601 time or of a number."""
    if not _ISO.match(text):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _any_text(_: str) -> None:
    return None


def _boolean_text(value: str) -> None:
    if value.lower() not in ("true", "false"):
        raise ValueError(f"'{value}' is not true or false")


_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "equals": lambda a, b: a == b,
    "lessthan": lambda a, b: a < b,
    "lessthanequals": lambda a, b: a <= b,
    "greaterthan": lambda a, b: a > b,
    "greaterthanequals": lambda a, b: a >= b,
}

_FAMILIES: dict[str, tuple[Compare, Callable[[str], object]]] = {
    "stringequals": (_string_equals, _any_text),
    "stringequalsignorecase": (_string_equals_ignore_case, _any_text),
    "stringlike": (_string_like, _any_text),
    "arnequals": (_arn_like, _any_text),
    "arnlike": (_arn_like, _any_text),
    "bool": (_boolean, _boolean_text),
    "binaryequals": (_string_equals, _any_text),
    "ipaddress": (_ip_address, lambda value: ipaddress.ip_network(value, strict=False)),
} | {
    prefix + name: (_ordered(read, order), read)
    for prefix, read in (("numeric", float), ("date", _moment))
    for name, order in _ORDERS.items()
}

_NEGATED = frozenset(
    {
        "stringnotequals",
        "stringnotequalsignorecase",
        "stringnotlike",
        "arnnotequals",
        "arnnotlike",
        "notipaddress",
        "numericnotequals",
        "datenotequals",
    }
)
