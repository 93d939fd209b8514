"""Ending connections."""

import asyncio
import contextlib


def cut(transport: asyncio.WriteTransport) -> None:
    """Abort it, in whatever state it is. TLS transports of early Pythons 3.11 raise when they were closed and have ended."""
    with contextlib.suppress(AttributeError):
        transport.abort()
