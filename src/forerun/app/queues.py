"""Makes the part that keeps queues: SQS, and the queues as others on the platform meet them."""

import random

from forerun.app.ground import Ground, Part
from forerun.sources.queues import QueuePollable, Queues, QueueShelf, QueueSink, Traffic
from forerun.storage.queue_messages import QueueMessages
from forerun.storage.queues import QueueStore


def make_queues(ground: Ground) -> Part:
    """Queues over ``messages.db``; they send nothing by themselves."""
    clock = ground.clock
    messages = QueueMessages(ground.state.messages)
    store = QueueStore(ground.state.messages)
    queues = Queues(store, messages, clock, ground.settings.server.region)
    traffic = Traffic(queues, messages, clock)
    draw = random.Random().getrandbits  # noqa: S311 names, not secrets

    async def start() -> None:
        await queues.start()
        traffic.start()

    return Part(
        sinks=[QueueSink(queues, traffic, clock, draw)],
        pollables=[QueuePollable(queues, traffic)],
        shelves=[QueueShelf(queues, messages, traffic)],
        start=start,
        close=traffic.close,
    )
