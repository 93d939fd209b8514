"""Keys that were given up a moment ago: calls of them may still be on their way. Pure."""

from collections import deque
from collections.abc import Callable

OUTDATED_S = 120.0
OUTDATED_MAX = 256


class Outdated:
    """What was given up in the last ``OUTDATED_S`` seconds, the last ``OUTDATED_MAX`` times."""

    def __init__(self) -> None:
        self._given_up: deque[tuple[float, Callable[[str], bool]]] = deque(maxlen=OUTDATED_MAX)

    def add(self, outdated: Callable[[str], bool], now: float) -> None:
        """Keys for which it answers true are given up."""
        self._given_up.append((now + OUTDATED_S, outdated))

    def knows(self, key: str, now: float) -> bool:
        """Whether this key was given up."""
        while self._given_up and self._given_up[0][0] <= now:
            self._given_up.popleft()
        return any(outdated(key) for _, outdated in self._given_up)
