"""Queues by their URLs, of which only the path counts: clients reach the server by several hosts."""

from forerun.api.protocol import ApiError
from forerun.api.resources import queue_path
from forerun.sources.queues import Queue, Queues


def queue_of(queues: Queues, url: str) -> Queue:
    """The queue; ``NoSuchQueue`` when there is none."""
    account, name = queue_path(url)
    if not name:
        raise ApiError(
            "InvalidAddress", f"The address {url[:1024]} is not valid for this endpoint.", 404
        )
    return queues.find(account, name)


def to_url(base_url: str, queue: Queue) -> str:
    """``{base}/ACCOUNT/NAME``."""
    return f"{base_url}/{queue.record.account}/{queue.record.name}"
