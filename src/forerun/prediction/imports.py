"""What functions import at their start, as far as zygotes could have imported it before. Pure.

Only modules of the runtime's own are in zygotes that functions share (``trusted``): whatever a function says, nothing
that it brings is imported for anybody else. A start shows what its zygote had not; so what a zygote had is remembered
from the starts before. A function is a version with its code, whose imports are much the same each time.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple

from forerun.prediction.policy import F

Modules = frozenset[str]

SDK = "boto3"
PLAIN, WITH_SDK = "", "+sdk"
ROOTS: Mapping[str, Modules] = {PLAIN: frozenset(), WITH_SDK: frozenset((SDK,))}
# What importing the SDK is taken to cost where nobody has seen it: the zygote had it each time.
SDK_MS = 100.0
# Their import does something that is to be seen, reads the terminal, or is for tests alone.
UNSUITED = frozenset(
    [
        "__future__",
        "__hello__",
        "__main__",
        "__phello__",
        "antigravity",
        "curses",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pip",
        "pty",
        "readline",
        "rlcompleter",
        "site",
        "sitecustomize",
        "termios",
        "test",
        "this",
        "tkinter",
        "tty",
        "turtle",
        "turtledemo",
        "usercustomize",
        "venv",
    ]
)
_UNSUITED_PARTS = frozenset(("__main__", "test", "tests"))

LEAST_MS = 0.3
LEAST_STARTS = 2
MODULES_MAX = 64


def trusted(name: str, standard: Container[str], sdk: Container[str]) -> bool:
    """Whether a shared zygote may import it: a module below one of these packages, which are the runtime's own."""
    top, *parts = name.split(".")
    if top.startswith("_") or top in UNSUITED or not _UNSUITED_PARTS.isdisjoint(parts):
        return False
    return top in standard or top in sdk


class Uses(NamedTuple, Generic[F]):
    """What a function's starts would be spared: milliseconds by module, so many times an hour.

    ``usual`` is the root that its sandboxes are forked from without any choice.
    """

    function: F
    starts_per_hour: float
    saves: Mapping[str, float]
    usual: str = PLAIN


class StartImports(NamedTuple):
    """One start: what was imported (milliseconds by module, trusted ones only) by a zygote's child that ``had`` others."""

    at: float
    imported: Mapping[str, float]
    had: Modules = frozenset()
    usual: str = PLAIN


@dataclass(slots=True)
class _Entry:
    usual: str
    at: float
    starts: float = 0.0
    count: int = 0
    saves: dict[str, float] = field(default_factory=dict)
    barred: set[str] = field(default_factory=set)


class ImportTally(Generic[F]):
    """What starts have shown, of ``most`` functions at most. A start counts for a third after ``memory_s`` seconds."""

    def __init__(self, memory_s: float, most: int = 10_000) -> None:
        self._memory_s = memory_s
        self._most = most
        self._entries: dict[F, _Entry] = {}
        self._barred: set[str] = set()

    def note(self, function: F, start: StartImports) -> None:
        """A function was started."""
        entry = self._entries.pop(function, None)
        if entry is None:
            if len(self._entries) >= self._most:
                del self._entries[next(iter(self._entries))]
            entry = _Entry(start.usual, start.at)
        # The one that started last is the last to be forgotten.
        self._entries[function] = entry
        entry.starts = self._left(entry, start.at) + 1
        entry.at = max(entry.at, start.at)
        entry.count += 1
        entry.usual = start.usual
        self._learn(entry, start)

    def uses(self, now: float) -> list[Uses[F]]:
        """Of functions that were started more than once, and lately."""
        for function in [
            each for each, one in self._entries.items() if self._left(one, now) < 0.05
        ]:
            del self._entries[function]
        return [
            Uses(
                function,
                self._left(entry, now) * 3600 / self._memory_s,
                dict(entry.saves),
                entry.usual,
            )
            for function, entry in self._entries.items()
            if entry.count >= LEAST_STARTS and entry.saves
        ]

    def bar(self, module: str) -> None:
        """No zygote can import it."""
        self._barred.add(module)
        for entry in self._entries.values():
            entry.saves.pop(module, None)

    def _left(self, entry: _Entry, now: float) -> float:
        return float(entry.starts * 0.333 ** (max(0.0, now - entry.at) / self._memory_s))

    def _learn(self, entry: _Entry, start: StartImports) -> None:
        saves = entry.saves
        for module, ms in start.imported.items():
            if module in start.had:
                # Imported again: the function brings its own, or one that this depends on.
                entry.barred.add(module)
                saves.pop(module, None)
            elif module not in entry.barred | self._barred and ms >= LEAST_MS:
                saves[module] = (saves.get(module, ms) + ms) / 2
        for module in [each for each in saves if each not in start.imported]:
            # The zygote had it not, and it was not missed.
            if module not in start.had:
                saves[module] /= 2
                if saves[module] < LEAST_MS:
                    del saves[module]
        if start.usual == WITH_SDK and SDK in start.had and SDK not in entry.barred:
            saves.setdefault(SDK, SDK_MS)
        for module in sorted(saves, key=lambda each: -saves[each])[MODULES_MAX:]:
            del saves[module]
