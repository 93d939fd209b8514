"""Many patterns asked at once: an event meets only those that one of its values speaks for. Pure.

Each pattern stands under one of the fields whose values it says something of that can be looked up, the one where the fewest
others stand; those without such a field are asked every time.
"""

from collections.abc import Hashable, Iterator
from typing import Any, Generic, TypeVar

from forerun.patterns.hints import HintTable
from forerun.patterns.matching import Event, Pattern
from forerun.patterns.reading import Path

Key = TypeVar("Key", bound=Hashable)
# Walking to a field that no other pattern stands under costs about as much as asking a pattern.
NEW_PATH = 1


class PatternIndex(Generic[Key]):
    """Patterns by key, found by event."""

    def __init__(self) -> None:
        self._patterns: dict[Key, Pattern] = {}
        self._places: dict[Path, HintTable[Key, Pattern]] = {}
        self._anywhere: dict[Key, Pattern] = {}
        self._stands: dict[Key, Path | None] = {}

    def __len__(self) -> int:
        return len(self._patterns)

    def add(self, key: Key, pattern: Pattern) -> None:
        """Set the pattern of a key."""
        self.remove(key)
        self._patterns[key] = pattern
        path = self._choose(pattern)
        self._stands[key] = path
        if path is None:
            self._anywhere[key] = pattern
            return
        table = self._places.setdefault(path, HintTable())
        for hint in pattern.required[path]:
            table.add(hint, key, pattern)

    def remove(self, key: Key) -> None:
        """Forget a key; nothing happens when it is not known."""
        pattern = self._patterns.pop(key, None)
        if pattern is None:
            return
        path = self._stands.pop(key)
        if path is None:
            del self._anywhere[key]
            return
        table = self._places[path]
        for hint in pattern.required[path]:
            table.remove(hint, key)
        if not table:
            del self._places[path]

    def matching(self, event: Event) -> list[Key]:
        """The keys of all patterns that match, in no order."""
        found = {key: None for key, pattern in self._anywhere.items() if pattern.matches(event)}
        for path, table in self._places.items():
            for value in _values_at(event, path):
                for row in table.found(value):
                    for key, pattern in row.items():
                        if key not in found and pattern.matches(event):
                            found[key] = None
        return list(found)

    def _choose(self, pattern: Pattern) -> Path | None:
        best: Path | None = None
        least = 0
        # Deeper fields are the more telling ones when nothing else speaks for either.
        for path in sorted(pattern.required, key=len, reverse=True):
            table = self._places.get(path)
            if table is None:
                weight = NEW_PATH + len(self._places)
            else:
                weight = max(map(table.crowd, pattern.required[path]))
            if best is None or weight < least:
                best, least = path, weight
        return best


def _values_at(event: Event, path: Path) -> Iterator[Any]:
    """The values of a field, of all elements where there are arrays on the way; one may come twice."""
    waiting: list[tuple[Any, int]] = [(event, 0)]
    depth = len(path)
    while waiting:
        value, position = waiting.pop()
        if value.__class__ is list:
            waiting.extend((each, position) for each in value)
        elif value.__class__ is not dict:
            if position == depth:
                yield value
        elif position < depth and path[position] in value:
            waiting.append((value[path[position]], position + 1))
