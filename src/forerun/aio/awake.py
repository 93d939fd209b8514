"""Keeps the event loop from falling asleep over a single answer that is about to come.

On an otherwise idle machine most of a short call's time goes into waking up: a core that slept takes 50 to 100 us to go
on. While exactly one answer is awaited the loop looks again at once, for some hundred microseconds, and sleeps
only then. With more of them in flight it is busy enough.
"""

import asyncio

TURNS = 60


class Awake:
    """Shared by all who await short answers on one loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._awaited = 0
        self._turns = 0
        self._turning = False

    def __enter__(self) -> None:
        self._awaited += 1
        if self._awaited == 1:
            self._turns = TURNS
            if not self._turning:
                self._turning = True
                self._loop.call_soon(self._turn)

    def __exit__(self, *_: object) -> None:
        self._awaited -= 1

    def _turn(self) -> None:
        self._turns -= 1
        self._turning = self._awaited == 1 and self._turns > 0
        if self._turning:
            self._loop.call_soon(self._turn)
