"""What a value must be like for a test to hold, as far as it can be looked up: equal to something, or begun or ended by it. Pure."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")

# Longer texts are looked up by a part, of one of few lengths: each length is a look-up for every value.
_EVERY, _STEP, _LONGEST = 16, 8, 256


class Hint(NamedTuple):
    """A value equal to ``value``; or, for ``begins`` and ``ends``, a text that does so, ``value`` being in lower case with ``folded``."""

    value: Any
    begins: bool = False
    ends: bool = False
    folded: bool = False


def equal_to(value: Any) -> Hint:
    """``value`` itself."""
    return Hint(value)


def equal_but_for_case(lowered: str) -> Hint:
    """A text that is ``lowered`` in lower case."""
    return Hint(lowered, folded=True)


def begun_by(text: str, *, folded: bool = False) -> Hint:
    """A text that begins so."""
    return Hint(text[: _looked_up(len(text))], begins=True, folded=folded)


def ended_by(text: str, *, folded: bool = False) -> Hint:
    """A text that ends so."""
    return Hint(text[len(text) - _looked_up(len(text)) :], ends=True, folded=folded)


def _looked_up(length: int) -> int:
    return length if length <= _EVERY else min(length - length % _STEP, _LONGEST)


class HintTable(Generic[Key, Item]):
    """Items by key under hints; ``found`` has those that a value may be wanted by."""

    __slots__ = ("_equal", "_folded", "_texts")

    def __init__(self) -> None:
        self._equal: dict[Any, dict[Key, Item]] = {}
        self._folded: dict[str, dict[Key, Item]] = {}
        # By whether it ends rather than begins so, in lower case or not, and by length.
        self._texts: dict[tuple[bool, bool, int], dict[str, dict[Key, Item]]] = {}

    def __bool__(self) -> bool:
        return bool(self._equal or self._folded or self._texts)

    def add(self, hint: Hint, key: Key, item: Item) -> None:
        """File an item."""
        self._rows(hint).setdefault(hint.value, {})[key] = item

    def remove(self, hint: Hint, key: Key) -> None:
        """Forget what is filed under a hint by this key."""
        rows = self._rows(hint)
        row = rows[hint.value]
        del row[key]
        if not row:
            del rows[hint.value]
        if not rows and (hint.begins or hint.ends):
            del self._texts[hint.ends, hint.folded, len(hint.value)]

    def crowd(self, hint: Hint) -> int:
        """How many are filed under a hint."""
        if hint.begins or hint.ends:
            rows = self._texts.get((hint.ends, hint.folded, len(hint.value)), _NONE)
        else:
            rows = self._folded if hint.folded else self._equal
        return len(rows.get(hint.value, _NONE))

    def found(self, value: Any) -> Iterator[Mapping[Key, Item]]:
        """The items that a value speaks for."""
        if row := self._equal.get(value):
            yield row
        if value.__class__ is str and (self._texts or self._folded):
            yield from self._of_text(value)

    def _of_text(self, value: str) -> Iterator[Mapping[Key, Item]]:
        lowered = value.lower()
        if row := self._folded.get(lowered):
            yield row
        for (ends, folded, length), rows in self._texts.items():
            text = lowered if folded else value
            if length <= len(text) and (
                row := rows.get(text[len(text) - length :] if ends else text[:length])
            ):
                yield row

    def _rows(self, hint: Hint) -> dict[Any, dict[Key, Item]]:
        if hint.begins or hint.ends:
            place = hint.ends, hint.folded, len(hint.value)
            return self._texts.setdefault(place, {})
        return self._folded if hint.folded else self._equal


_NONE: Mapping[Any, Any] = {}
