"""How many connections of those who have not proven who they are a door bears, all together and from one address. Pure."""

from collections import Counter

ALL = 512
OF_ADDRESS = 256


class Strangers:
    """Each ``enter`` that was true is followed by one ``leave``: when somebody is known, has said what it wants, or is gone."""

    def __init__(self, most: int = ALL, of_address: int = OF_ADDRESS) -> None:
        self._most, self._of_address = most, of_address
        self._from: Counter[str] = Counter()
        self._number = 0

    def enter(self, address: str) -> bool:
        """Whether one more may come from there."""
        if self._number >= self._most or self._from[address] >= self._of_address:
            return False
        self._from[address] += 1
        self._number += 1
        return True

    def leave(self, address: str) -> None:
        """One is a stranger no more."""
        self._number -= 1
        self._from[address] -= 1
        if not self._from[address]:
            del self._from[address]
