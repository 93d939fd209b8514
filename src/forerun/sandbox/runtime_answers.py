"""How the Runtime API answers over ASGI: at once, later, or with an error."""

import logging
from collections.abc import Awaitable

from forerun.aio.http import Receive, Send

log = logging.getLogger("forerun.sandbox")


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message


async def park(polls: list[Send], receive: Receive, send: Send) -> None:
    """Keep a poll until it was answered or its connection has gone."""
    polls.append(send)
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        if send in polls:
            polls.remove(send)


async def reply(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Answer with a whole JSON body."""
    start = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *(headers or ()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def accepted(send: Send) -> None:
    """What the program posted was taken."""
    await reply(send, 202, b'{"status":"OK"}\n')


async def offer(written: Awaitable[None]) -> bool:
    """Whether the client of a streamed response took it; false when it left."""
    try:
        await written
    except Exception:
        log.info("the client of a streamed response left", exc_info=True)
        return False
    return True
