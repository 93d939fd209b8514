"""Continuation tokens of S3's listings: the last name that was shown."""

import base64
import binascii

from forerun.api.protocol import ApiError


def to_token(name: str) -> str:
    """What goes on after ``name``."""
    return base64.b64encode(name.encode()).decode()


def from_token(token: str) -> str:
    """The name to go on after; ``ApiError`` for what is no token."""
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = "The continuation token provided is incorrect"
        raise ApiError("InvalidArgument", text, 400) from None
