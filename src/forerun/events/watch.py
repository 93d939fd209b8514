"""Which functions somebody watches: asked once for each call, so it must cost next to nothing."""

from collections.abc import Mapping
from enum import IntEnum


class Watch(IntEnum):
    """What is wanted of a function's executions: nothing, what the platform knows of them, or what they answer as well."""

    NOTHING = 0
    METADATA = 1
    OUTPUT = 2


class Watched:
    """What is watched, by function (account and name) and by account for all functions of it."""

    def __init__(
        self,
        functions: Mapping[tuple[str, str], Watch] | None = None,
        accounts: Mapping[str, Watch] | None = None,
    ) -> None:
        self._functions = dict(functions or {})
        self._accounts = dict(accounts or {})
        self._any = bool(self._functions or self._accounts)

    @property
    def functions(self) -> Mapping[tuple[str, str], Watch]:
        """By account and name."""
        return self._functions

    @property
    def accounts(self) -> Mapping[str, Watch]:
        """All functions of these accounts."""
        return self._accounts

    def of(self, account: str, name: str) -> Watch:
        """What is wanted of this function's executions."""
        if not self._any:
            return _NOTHING
        one = self._functions.get((account, name), _NOTHING)
        if not self._accounts:
            return one
        return max(one, self._accounts.get(account, _NOTHING))


_NOTHING = Watch.NOTHING
