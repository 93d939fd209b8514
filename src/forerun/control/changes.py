"""Who must hear that something about a function changed: caches forget it, hosts drop its sandboxes."""

from collections.abc import Callable, Sequence

Listener = Callable[[str, str, Sequence[str]], None]


class Changes:
    """Calls its listeners with account, function name and the sandbox keys that serve no call any more.

    A sandbox's key is one of those, or one of those followed by a dot and more.
    It is told after the change is stored and before its author is answered. Listeners return at once and do not raise.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` from now on."""
        self._listeners.append(listener)

    def tell(self, account: str, name: str, retired: Sequence[str] = ()) -> None:
        """Something about this function was changed."""
        for listener in self._listeners:
            listener(account, name, retired)
