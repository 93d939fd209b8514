"""What asyncio lacks: owned tasks, a clock that can be passed in, and an HTTP server on sockets that come and go."""

from forerun.aio.clock import Clock, SystemClock
from forerun.aio.http import (
    App,
    BodyTooLarge,
    BodyTooSlow,
    Bounds,
    HttpServer,
    Receive,
    Scope,
    Send,
    read_body,
)
from forerun.aio.tasks import TaskOwner

__all__ = [
    "App",
    "BodyTooLarge",
    "BodyTooSlow",
    "Bounds",
    "Clock",
    "HttpServer",
    "Receive",
    "Scope",
    "Send",
    "SystemClock",
    "TaskOwner",
    "read_body",
]
