"""An outbox that keeps what it is given."""

from collections.abc import Sequence

from forerun.model import Message


class FakeOutbox:
    """Stands in for ``forerun.sources.Outbox``: ``sent`` in order; raises ``fails`` while that is set."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.fails: Exception | None = None

    async def send(self, messages: Sequence[Message]) -> None:
        """Keep them."""
        if self.fails is not None:
            raise self.fails
        self.sent.extend(messages)
