"""Resources of the web that executions depend on: one HEAD each, and what the answer says of the version.

Redirects are followed a few times within their scheme.
"""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin

import httptools

from forerun.control.outside import Outside, Url, read_url
from forerun.errors import InvalidInput

_REDIRECTS: Final = 3
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
# Times of modification are whole seconds: a second change within one would not be seen.
_FRESH_S: Final = 2.0


class WebState:
    """The ETag of a resource, else the time when it was last modified."""

    def __init__(self, *, private: bool) -> None:
        """``private``: addresses that are not public may be asked."""
        self._outside = Outside(private=private)

    async def state(self, _account: str, where: Mapping[str, str]) -> str | None:
        """``None`` when the answer is not 2xx, says nothing of the version, or the resource has just been modified."""
        text = where["Url"]
        url = read_url(text)
        for _ in range(_REDIRECTS + 1):
            try:
                answer = await self._outside.ask(url, _request(url))
            except (ssl.SSLError, httptools.HttpParserError, httptools.HttpParserUpgrade):
                return None
            if answer.status not in _MOVED:
                return version_of(answer.status, answer.headers)
            text = urljoin(text, answer.headers.get("location", ""))
            try:
                further = read_url(text)
            except InvalidInput:
                return None
            if further.secure != url.secure:
                return None
            url = further
        return None


def _request(url: Url) -> bytes:
    return (
        f"HEAD {url.target} HTTP/1.1\r\nhost: {url.authority}\r\nuser-agent: Forerun\r\n"
        "accept: */*\r\nconnection: close\r\n\r\n"
    ).encode()


def version_of(status: int, headers: Mapping[str, str]) -> str | None:
    """What an answer says of the version of its resource; ``None`` when it does not, or not for certain."""
    if not 200 <= status < 300:
        return None
    if etag := headers.get("etag"):
        return f"etag {etag}"
    modified, answered = _moment(headers.get("last-modified")), _moment(headers.get("date"))
    if modified is None or answered is None:
        return None
    if (answered - modified).total_seconds() < _FRESH_S:
        return None
    return f"modified {modified.timestamp():.0f}"


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
