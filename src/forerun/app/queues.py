"""Makes the part that keeps queues: SQS, and the queues as others on the platform meet them."""

import random

from forerun.api.sqs import MessageRoutes, QueueRoutes, QueueRows
from forerun.app.ground import Ground, Part
from forerun.control.once import QueueState
from forerun.model import Origin
from forerun.sources.queues import QueuePollable, Queues, QueueShelf, QueueSink, Traffic
from forerun.storage.queue_messages import QueueMessages
from forerun.storage.queues import QueueStore


def make_queues(ground: Ground) -> Part:
    """Queues over ``messages.db``; they send nothing by themselves."""
    clock = ground.clock
    messages = QueueMessages(ground.state.messages)
    store = QueueStore(ground.state.messages)
    queues = Queues(store, messages, clock, ground.settings.server.region)
    guests = max(1, ground.settings.server.max_connections // 2)
    traffic = Traffic(queues, messages, clock, guests=guests)
    draw = random.Random().getrandbits  # noqa: S311 names, not secrets

    async def start() -> None:
        await queues.start()
        traffic.start()

    def origin_of(header: str, account: str) -> Origin:
        headers = {b"x-amzn-trace-id": header.encode()}
        return ground.monitor.recognise(headers, None, account, trusted=True, caller=account)

    messages_routes = MessageRoutes(
        queues,
        traffic,
        clock,
        draw=draw,
        sender_of=ground.services.identities.user_id,
        origin_of=origin_of,
    )
    operations = {
        **QueueRoutes(queues, traffic, ground.base_url).routes(),
        **messages_routes.routes(),
    }
    return Part(
        operations={"sqs": operations},
        sinks=[QueueSink(queues, traffic, clock, draw)],
        pollables=[QueuePollable(queues, traffic)],
        shelves=[QueueShelf(queues, messages, traffic)],
        dependencies={"queue": QueueState(queues, traffic)},
        rows=QueueRows(queues, traffic, clock).rows,
        start=start,
        set_back=traffic.set_back,
        dismiss=traffic.dismiss,
        close=traffic.close,
    )
