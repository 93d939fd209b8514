"""What every route gives back, and how it is sent."""

from typing import NamedTuple

from forerun.aio import Send

Headers = list[tuple[bytes, bytes]]


class Response(NamedTuple):
    """A whole HTTP response."""

    status: int
    headers: Headers
    body: bytes = b""


async def send_response(send: Send, response: Response) -> None:
    """Send it with its length."""
    headers = response.headers
    if response.status != 204:
        headers = [*headers, (b"content-length", str(len(response.body)).encode())]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
