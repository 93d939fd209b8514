"""What goes in and out of the protocol engine: one HTTP request, one HTTP reply, one error with AWS's name.

Nothing here performs input or output; a request is complete (its body read) before it gets here.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from urllib.parse import unquote_plus

Headers = Sequence[tuple[bytes, bytes]]


class HttpRequest:
    """A received request: ``path`` and ``query`` as sent (percent-encoded), header names in any case."""

    def __init__(
        self, method: str, path: bytes, query: bytes = b"", headers: Headers = (), body: bytes = b""
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body

    @cached_property
    def header(self) -> dict[bytes, bytes]:
        """Headers by lower-case name; repeated ones joined by commas."""
        found: dict[bytes, bytes] = {}
        for name, value in self.headers:
            name = name.lower()  # noqa: PLW2901 - the name is only ever wanted in lower case
            found[name] = found[name] + b"," + value if name in found else value
        return found

    @cached_property
    def query_pairs(self) -> list[tuple[str, str]]:
        """Decoded query parameters in order; a key without ``=`` has an empty value."""
        return form_pairs(self.query)


def form_pairs(text: bytes) -> list[tuple[str, str]]:
    """Decode ``a=b&c`` as browsers do (``+`` is a space, bytes are UTF-8); empty parts are skipped."""
    pairs = []
    for part in text.decode("latin-1").split("&"):
        if part:
            key, _, value = part.partition("=")
            pairs.append((unquote_plus(key), unquote_plus(value)))
    return pairs


class HttpReply:
    """A complete answer; header names are lower case, as ASGI wants them."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class ApiError(Exception):
    """An error as an AWS client sees it.

    ``code`` is AWS's name for it. ``status`` counts only where the service's model does not say another one.
    ``members`` are further members of the error's shape (``{"Reason": "..."}``), header members included.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 400,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members or {}
