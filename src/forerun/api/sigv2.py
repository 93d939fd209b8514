"""Links to S3 signed in the way before version 4, which clients still make by default for AWS's oldest regions.

Such a link has ``AWSAccessKeyId``, ``Expires`` (epoch seconds) and ``Signature`` in its query. The signature does not cover the
body. Nothing else is taken that is signed this way.
"""

import hmac
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import parse_qsl

from forerun.api.protocol import HttpRequest
from forerun.api.sigv4 import SecretKey, SignatureError

MAX_EXPIRES_S = 604_800

# The parts of a query that choose what is meant, and are therefore signed.
_SUBRESOURCES = frozenset(
    {
        "acl",
        "cors",
        "delete",
        "lifecycle",
        "location",
        "logging",
        "notification",
        "partNumber",
        "policy",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    }
)


def is_old_link(query: bytes) -> bool:
    """Whether a request is signed this way."""
    return b"AWSAccessKeyId=" in query and b"Signature=" in query


def verify_old_link(
    request: HttpRequest,
    lookup: Callable[[str, str], SecretKey | None],
    now: Callable[[], float],
) -> tuple[str, str]:
    """Access key id and session token of a good link. Raises ``SignatureError``.

    ``request.path`` begins with the bucket, also where the host named it; ``lookup`` and ``now`` are those of ``Verifier``.
    """
    given = dict(parse_qsl(request.query.decode("latin-1"), keep_blank_values=True))
    key_id, signature = given.get("AWSAccessKeyId", ""), given.get("Signature", "")
    token = given.get("x-amz-security-token", "")
    key = lookup(key_id, token)
    if key is None or not hmac.compare_digest(key.session_token or "", token):
        text = "The AWS Access Key Id you provided does not exist in our records."
        raise SignatureError("InvalidAccessKeyId", text, 403)
    expires = given.get("Expires", "")
    if not expires.isdecimal() or len(expires) > 12:
        raise SignatureError("AccessDenied", "Invalid date (should be seconds since epoch)", 403)
    moment = now()
    if int(expires) < moment or (key.expires_at is not None and key.expires_at <= moment):
        raise SignatureError("AccessDenied", "Request has expired", 403)
    if int(expires) > moment + MAX_EXPIRES_S:
        raise SignatureError("AccessDenied", f"Expires is more than {MAX_EXPIRES_S} s ahead", 403)
    wanted = b64encode(hmac.digest(key.secret.encode(), _to_sign(request, given), "sha1"))
    if not hmac.compare_digest(wanted, signature.encode("utf-8", "replace")):
        text = "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        raise SignatureError("SignatureDoesNotMatch", text, 403)
    return key_id, token


def _to_sign(request: HttpRequest, given: dict[str, str]) -> bytes:
    header = request.header
    amz = sorted(
        name + b":" + b" ".join(value.split()) + b"\n"
        for name, value in header.items()
        if name.startswith(b"x-amz-")
    )
    token = given.get("x-amz-security-token")
    if token and b"x-amz-security-token" not in header:
        amz = sorted([*amz, b"x-amz-security-token:" + token.encode() + b"\n"])
    meant = sorted((name, value) for name, value in given.items() if name in _SUBRESOURCES)
    query = "&".join(name + ("=" + value if value else "") for name, value in meant)
    resource = request.path + (b"?" + query.encode("latin-1") if query else b"")
    return b"\n".join(
        (
            request.method.encode(),
            header.get(b"content-md5", b""),
            header.get(b"content-type", b""),
            given["Expires"].encode(),
            b"".join(amz) + resource,
        )
    )
