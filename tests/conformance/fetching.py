"""Reading objects and links, closed when they were read."""

import urllib.error
import urllib.request
from typing import Any


def read(s3: Any, bucket: str, key: str, **more: Any) -> bytes:
    """The content of an object."""
    with s3.get_object(Bucket=bucket, Key=key, **more)["Body"] as body:
        return bytes(body.read())


def fetch(url: str, **given: Any) -> tuple[int, bytes, Any]:
    """Status, body and headers of a plain request, whatever the status."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **given), timeout=20) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers
