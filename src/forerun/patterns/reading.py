"""A pattern's JSON as branches: in each, every field named has to match; one branch is enough. Pure.

``$or`` multiplies branches, as it does on AWS, so that what stands outside and inside of it is asked of the same element
of an array.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from forerun.patterns.leaves import MATCH_TYPES, MAX_STARS, InvalidPattern, Leaf, compile_leaf

OR = "$or"
MAX_CHARS = 4096
MAX_DEPTH = 100
MAX_BRANCHES = 1000
# What stands beside an $or is part of each of its branches: so many fields of all branches together.
MAX_FIELDS = 10_000

Path = tuple[str, ...]
Branch = dict[Path, Leaf]


def read_branches(
    source: str | bytes | Mapping[str, Any], *, most_chars: int = MAX_CHARS
) -> tuple[list[Branch], Branch]:
    """All branches, and what stands outside of every ``$or``, which they have in common. Raises ``InvalidPattern``."""
    if isinstance(source, Mapping):
        read: Any = source
    else:
        if len(source) > most_chars:
            raise InvalidPattern(f"a pattern has at most {most_chars} characters")
        read = _decoded(source)
    if not isinstance(read, Mapping):
        raise InvalidPattern("Filter is not an object")
    reader = _Reader()
    branches = reader.read(read, (), [{}], inside_or=False)
    if reader.stars > MAX_STARS:
        raise InvalidPattern(
            f"Rule is too complex - try using fewer wildcard characters; at most {MAX_STARS} are served"
        )
    return branches, reader.common


def _decoded(source: str | bytes) -> Any:
    try:
        return msgspec.json.decode(source)
    except RecursionError:
        raise InvalidPattern(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidPattern(f"it is not JSON: {error}") from None


class _Reader:
    def __init__(self) -> None:
        self.common: Branch = {}
        self.stars = 0

    def read(
        self, given: Mapping[str, Any], path: Path, branches: list[Branch], *, inside_or: bool
    ) -> list[Branch]:
        """``branches`` with the fields of an object added."""
        if not given:
            raise InvalidPattern("Empty objects are not allowed")
        if len(path) >= MAX_DEPTH:
            raise InvalidPattern(f"it is nested deeper than {MAX_DEPTH} levels")
        for name, value in given.items():
            if not isinstance(name, str):
                raise InvalidPattern("names of fields must be strings")
            if name == OR:
                branches = self._either(value, path, branches)
                continue
            if inside_or and name in MATCH_TYPES:
                raise InvalidPattern(
                    f"{name} is Ruler reserved fieldName which cannot be used inside {OR}."
                )
            where = (*path, name)
            if isinstance(value, Mapping):
                branches = self.read(value, where, branches, inside_or=inside_or)
            elif isinstance(value, list | tuple):
                leaf = compile_leaf(value)
                self.stars += leaf.stars
                if not inside_or:
                    self.common[where] = leaf
                branches = [{**branch, where: leaf} for branch in branches]
                _require_few(branches)
            else:
                raise InvalidPattern(f'"{name[:100]}" must be an object or an array')
        return branches

    def _either(self, value: Any, path: Path, branches: list[Branch]) -> list[Branch]:
        if not isinstance(value, list | tuple):
            raise InvalidPattern(f"It must be an Array followed with {OR}.")
        if len(value) < 2:
            raise InvalidPattern(f"There must have at least 2 Objects in {OR} relationship.")
        if len(branches) * len(value) > MAX_BRANCHES:
            raise InvalidPattern(f"{OR} leads to more than {MAX_BRANCHES} combinations of rules")
        found: list[Branch] = []
        for each in value:
            if not isinstance(each, Mapping):
                raise InvalidPattern(f"Only JSON object is allowed in array of {OR} relationship.")
            found += self.read(each, path, branches, inside_or=True)
            _require_few(found)
        return found


def _require_few(branches: list[Branch]) -> None:
    if len(branches) > MAX_BRANCHES:
        raise InvalidPattern(f"{OR} leads to more than {MAX_BRANCHES} combinations of rules")
    if len(branches) > 1 and sum(map(len, branches)) > MAX_FIELDS:
        raise InvalidPattern(f"{OR} leads to more than {MAX_FIELDS} fields in all combinations")
