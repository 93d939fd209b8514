"""The functions of CloudFormation's template language; pure.

What a template says is resolved against ``Scope``: parameters, conditions, mappings, and the resources made so far.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from forerun.cli.failures import Failure

_NO_VALUE = object()
_SUB = re.compile(r"\$\{([^!{}][^{}]*)\}")
_PSEUDO = "AWS::"


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that exists: what ``Ref`` gives and what ``Fn::GetAtt`` gives."""

    ref: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Scope:
    """What names stand for. ``made`` grows as resources are applied."""

    parameters: Mapping[str, Any]
    mappings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    made: dict[str, Made] = field(default_factory=dict)

    def holds(self, name: str) -> bool:
        """Whether a condition of the template holds."""
        if name not in self.conditions:
            raise Failure(f"The template has no condition {name!r}.")
        return _truth(self.resolve(self.conditions[name]))

    def resolve(self, value: Any) -> Any:
        """The value with every intrinsic function replaced; ``Failure`` for unknown names and functions."""
        result = self._resolve(value)
        return None if result is _NO_VALUE else result

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            items = (self._resolve(item) for item in value)
            return [item for item in items if item is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if (call := _call(value)) is not None:
            name, argument = call
            function = _FUNCTIONS.get(name)
            if function is None:
                raise Failure(f"{name} is not served in templates yet.")
            return function(self, argument)
        resolved = ((key, self._resolve(item)) for key, item in value.items())
        return {key: item for key, item in resolved if item is not _NO_VALUE}

    def ref(self, name: str) -> Any:
        """What ``Ref`` gives."""
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in self.parameters:
            return self.parameters[name]
        if name in self.made:
            return self.made[name].ref
        raise Failure(f"The template refers to {name!r}, which it does not have.")

    def attribute(self, name: str, attribute: str) -> Any:
        """What ``Fn::GetAtt`` gives."""
        made = self.made.get(name)
        if made is None or attribute not in made.attributes:
            raise Failure(f"The template asks for {name}.{attribute}, which there is not.")
        return made.attributes[attribute]


def references(value: Any) -> Iterator[str]:
    """The logical names a value refers to, pseudo parameters left out."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        call = _call(value)
        if call is None:
            for item in value.values():
                yield from references(item)
        else:
            yield from _called(*call)


def is_call(value: Any) -> bool:
    """Whether a value is one of the language's functions, and not an object."""
    return isinstance(value, dict) and _call(value) is not None


def _called(name: str, argument: Any) -> Iterator[str]:
    if name == "Ref":
        if not str(argument).startswith(_PSEUDO):
            yield str(argument)
    elif name == "Fn::GetAtt":
        yield _attribute_path(argument)[0]
    elif name == "Fn::Sub":
        text, own = _sub_parts(argument)
        yield from references(list(own.values()))
        for inner in _SUB.findall(text):
            if inner not in own and not inner.startswith(_PSEUDO):
                yield inner.partition(".")[0]
    else:
        yield from references(argument)


def _call(value: dict[str, Any]) -> tuple[str, Any] | None:
    if len(value) != 1:
        return None
    name, argument = next(iter(value.items()))
    known = name in {"Ref", "Condition"} and isinstance(argument, str)
    return (name, argument) if known or str(name).startswith("Fn::") else None


def _attribute_path(argument: Any) -> tuple[str, str]:
    if isinstance(argument, str):
        name, _, attribute = argument.partition(".")
        return name, attribute
    if isinstance(argument, list) and len(argument) >= 2:
        return str(argument[0]), ".".join(str(part) for part in argument[1:])
    raise Failure(f"Fn::GetAtt takes a name and an attribute, not {argument!r}.")


def _sub_parts(argument: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(argument, str):
        return argument, {}
    match argument:
        case [str() as text, dict() as own]:
            return text, own
    raise Failure(f"Fn::Sub takes a text, or a text and values, not {argument!r}.")


def _get_att(scope: Scope, argument: Any) -> Any:
    return scope.attribute(*_attribute_path(argument))


def _sub(scope: Scope, argument: Any) -> str:
    text, own = _sub_parts(argument)

    def replace(match: re.Match[str]) -> str:
        name = match[1].strip()
        if name in own:
            return str(scope.resolve(own[name]))
        if "." in name:
            return str(scope.attribute(*_attribute_path(name)))
        return str(scope.ref(name))

    return _SUB.sub(replace, text).replace("${!", "${")


def _join(scope: Scope, argument: Any) -> str:
    delimiter, items = _arguments("Fn::Join", argument, 2)
    return str(delimiter).join(str(item) for item in scope.resolve(items))


def _split(scope: Scope, argument: Any) -> list[str]:
    delimiter, text = _arguments("Fn::Split", argument, 2)
    return str(scope.resolve(text)).split(str(delimiter))


def _select(scope: Scope, argument: Any) -> Any:
    index, items = scope.resolve(_arguments("Fn::Select", argument, 2))
    try:
        return items[int(index)]
    except (IndexError, ValueError, TypeError):
        raise Failure(f"Fn::Select: there is no item {index!r}.") from None


def _find_in_map(scope: Scope, argument: Any) -> Any:
    path = scope.resolve(_arguments("Fn::FindInMap", argument, 3))
    found: Any = scope.mappings
    for key in path:
        if not isinstance(found, dict) or str(key) not in found:
            raise Failure(f"Fn::FindInMap: there is no {'.'.join(map(str, path))}.")
        found = found[str(key)]
    return found


def _if(scope: Scope, argument: Any) -> Any:
    name, yes, no = _arguments("Fn::If", argument, 3)
    return scope._resolve(yes if scope.holds(str(name)) else no)  # noqa: SLF001 - keeps AWS::NoValue


def _equals(scope: Scope, argument: Any) -> bool:
    left, right = scope.resolve(_arguments("Fn::Equals", argument, 2))
    return str(left) == str(right)


def _arguments(name: str, argument: Any, count: int) -> list[Any]:
    if not isinstance(argument, list) or len(argument) != count:
        raise Failure(f"{name} takes {count} arguments, not {argument!r}.")
    return argument


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise Failure(f"{value!r} is not a condition.")


_FUNCTIONS: Mapping[str, Callable[[Scope, Any], Any]] = {
    "Ref": lambda scope, name: scope.ref(name),
    "Condition": lambda scope, name: scope.holds(name),
    "Fn::GetAtt": _get_att,
    "Fn::Sub": _sub,
    "Fn::Join": _join,
    "Fn::Split": _split,
    "Fn::Select": _select,
    "Fn::FindInMap": _find_in_map,
    "Fn::If": _if,
    "Fn::Equals": _equals,
    "Fn::And": lambda scope, items: all(_truth(scope.resolve(item)) for item in items),
    "Fn::Or": lambda scope, items: any(_truth(scope.resolve(item)) for item in items),
    "Fn::Not": lambda scope, items: not _truth(scope.resolve(_arguments("Fn::Not", items, 1)[0])),
}
