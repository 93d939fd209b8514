"""AWS Signature Version 4, checked: who sent a request, and that nobody changed it on the way.

Header-signed and presigned requests, and S3's chunked uploads. The hash of the body is always our own: what a client says about
it is only compared. Whatever could be read in two ways (repeated headers that matter, a signature in two places) is refused.
Not checked here: whether the caller may do what he asks, and whether the same request was seen before.
"""

import hmac
import re
from calendar import timegm
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from forerun.api import awschunked
from forerun.api.canonical import canonical_path, canonical_query
from forerun.api.protocol.messages import ApiError

MAX_SKEW_S = 300
MAX_EXPIRES_S = 604_800
CACHED_KEYS = 4096
ALGORITHM = b"AWS4-HMAC-SHA256"
UNSIGNED = b"UNSIGNED-PAYLOAD"
_SIGNED_CHUNKS = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_SIGNED_CHUNKS_TRAILER = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
_UNSIGNED_CHUNKS_TRAILER = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_CHUNKED = frozenset({_SIGNED_CHUNKS, _SIGNED_CHUNKS_TRAILER, _UNSIGNED_CHUNKS_TRAILER})

_DATE = re.compile(rb"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\Z")
_HEX64 = re.compile(rb"[0-9a-f]{64}\Z")
_ONCE = frozenset(
    {b"authorization", b"host", b"date", b"content-length", b"content-type", b"content-encoding"}
)
_NEED_NOT_BE_SIGNED = frozenset({b"x-amz-user-agent"})
_XML_SERVICES = frozenset(
    {"sts", "iam", "s3", "sns", "cloudformation", "sqs", "autoscaling", "monitoring"}
)
_MAX_HEADERS = 200


class SecretKey(NamedTuple):
    """What is known of an access key. ``session_token`` and ``expires_at`` (epoch seconds) are those of temporary ones."""

    secret: str
    session_token: str | None = None
    expires_at: float | None = None


class Signed(NamedTuple):
    """A verified request. ``body`` is the content without chunk framing; ``trailers`` came with it (checksums)."""

    access_key_id: str
    session_token: str
    region: str
    service: str
    date: str
    presigned: bool
    body: bytes
    trailers: Mapping[bytes, bytes]


class SignatureError(ApiError):
    """The request is not acceptable as signed; ``code`` is AWS's, after the habit of the service asked."""


class _Claim(NamedTuple):
    """What a request says about its signature."""

    access_key_id: str
    day: bytes
    region: bytes
    service: bytes
    signed_headers: bytes
    signature: bytes
    date: bytes
    expires: int | None
    token: bytes | None

    @property
    def scope(self) -> bytes:
        return b"/".join((self.day, self.region, self.service, b"aws4_request"))


class Verifier:
    """Verifies requests; keeps derived signing keys (at most ``CACHED_KEYS``, oldest out first).

    ``lookup`` answers what is known of an access key id and the session token that came with it (empty without one), or
    ``None``; ``now`` is the time in epoch seconds.
    """

    def __init__(
        self, lookup: Callable[[str, str], SecretKey | None], now: Callable[[], float]
    ) -> None:
        self._lookup = lookup
        self._now = now
        self._keys: dict[tuple[str, bytes, bytes, bytes], tuple[str, bytes]] = {}

    def forget(self, access_key_id: str) -> None:
        """Drop the signing keys derived for this access key."""
        for entry in [entry for entry in self._keys if entry[0] == access_key_id]:
            del self._keys[entry]

    def verify(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        body_sha256: str | None = None,
    ) -> Signed:
        """The verified request. ``body_sha256`` is the hash of ``body`` if it was computed elsewhere (lower-case hex).

        Raises ``SignatureError``.
        """
        table = _table(headers)
        parameters = _parameters(query)
        claim = _claim(table, parameters)
        service = claim.service.decode("latin-1")
        key = self._known(claim, service)
        self._in_time(claim, service)
        payload = _payload_hash(claim, service, table, parameters, body, body_sha256)
        request = b"\n".join(
            (
                method.encode(),
                raw_path if service == "s3" else canonical_path(raw_path),
                canonical_query(query, presigned=claim.expires is not None),
                _canonical_headers(claim, service, table),
                claim.signed_headers,
                payload,
            )
        )
        to_sign = b"\n".join(
            (ALGORITHM, claim.date, claim.scope, sha256(request).hexdigest().encode())
        )
        signing_key = self._signing_key(claim, key.secret)
        wanted = hmac.digest(signing_key, to_sign, "sha256").hex().encode()
        if not hmac.compare_digest(wanted, claim.signature):
            raise _mismatch(service)
        trailers: Mapping[bytes, bytes] = {}
        if payload in _CHUNKED:
            chain = awschunked.Chain(signing_key, claim.date, claim.scope, claim.signature)
            body, trailers = _unchunk(payload, chain, table, body, service)
        region = claim.region.decode("latin-1")
        presigned = claim.expires is not None
        return Signed(
            claim.access_key_id,
            (claim.token or b"").decode("latin-1"),
            region,
            service,
            claim.date.decode(),
            presigned,
            body,
            trailers,
        )

    def _known(self, claim: _Claim, service: str) -> SecretKey:
        key = self._lookup(claim.access_key_id, (claim.token or b"").decode("latin-1"))
        token = (key.session_token or "").encode() if key is not None else b""
        if key is None or not hmac.compare_digest(token, claim.token or b""):
            code = _named(service, "InvalidClientTokenId", "UnrecognizedClientException")
            code = "InvalidAccessKeyId" if service == "s3" else code
            raise SignatureError(
                code, "The security token included in the request is invalid.", 403
            )
        if key.expires_at is not None and key.expires_at <= self._now():
            code = _named(service, "ExpiredToken", "ExpiredTokenException")
            raise SignatureError(code, "The security token included in the request is expired", 403)
        return key

    def _in_time(self, claim: _Claim, service: str) -> None:
        now, signed = self._now(), _seconds(claim.date)
        if claim.date[:8] != claim.day:
            text = f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{claim.day.decode()}' != '{claim.date[:8].decode()}', from '{claim.date.decode()}'."
            raise SignatureError(
                _named(service, "SignatureDoesNotMatch", "InvalidSignatureException"), text, 403
            )
        if signed > now + MAX_SKEW_S:
            raise _expired(
                service,
                f"Signature not yet current: {claim.date.decode()} is still later than the server's time",
            )
        lifetime = MAX_SKEW_S if claim.expires is None else claim.expires
        if now > signed + lifetime:
            if service == "s3" and claim.expires is not None:
                raise SignatureError("AccessDenied", "Request has expired", 403)
            raise _expired(
                service,
                f"Signature expired: {claim.date.decode()} is more than {lifetime} seconds ago",
            )

    def _signing_key(self, claim: _Claim, secret: str) -> bytes:
        entry = (claim.access_key_id, claim.day, claim.region, claim.service)
        found = self._keys.pop(entry, None)
        if found is None or found[0] != secret:
            key = b"AWS4" + secret.encode()
            for part in (claim.day, claim.region, claim.service, b"aws4_request"):
                key = hmac.digest(key, part, "sha256")
            found = (secret, key)
        self._keys[entry] = found
        if len(self._keys) > CACHED_KEYS:
            del self._keys[next(iter(self._keys))]
        return found[1]


def _table(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    if len(headers) > _MAX_HEADERS:
        raise SignatureError("InvalidRequest", "The request has too many headers", 400)
    table: dict[bytes, bytes] = {}
    for raw, value in headers:
        name = raw.lower()
        if name in table:
            if name in _ONCE or name.startswith(b"x-amz-"):
                text = f"The header {name.decode('latin-1')} must not be repeated"
                raise SignatureError("IncompleteSignature", text, 400)
            value = table[name] + b"," + value  # noqa: PLW2901 - repeated headers are one list
        table[name] = value
    return table


def _parameters(query: bytes) -> dict[bytes, bytes]:
    """The ``X-Amz-`` parameters of a presigned request; a repeated one is refused."""
    found: dict[bytes, bytes] = {}
    if b"X-Amz-" not in query:
        return found
    for part in query.split(b"&"):
        key, _, value = part.partition(b"=")
        if key.startswith(b"X-Amz-"):
            if key in found:
                raise SignatureError(
                    "AuthorizationQueryParametersError", f"{key.decode('latin-1')} is repeated", 400
                )
            found[key] = unquote_to_bytes(value)
    return found


def _claim(table: Mapping[bytes, bytes], parameters: Mapping[bytes, bytes]) -> _Claim:
    authorization = table.get(b"authorization")
    if authorization is None and b"X-Amz-Signature" not in parameters:
        raise SignatureError(
            "MissingAuthenticationTokenException", "Missing Authentication Token", 403
        )
    if authorization is None:
        return _claim_of_query(parameters)
    if b"X-Amz-Signature" in parameters:
        raise _incomplete("Only one authentication mechanism is allowed")
    algorithm, _, rest = authorization.partition(b" ")
    if algorithm != ALGORITHM:
        raise _incomplete("Unsupported AWS 'algorithm' in Authorization header")
    fields: dict[bytes, bytes] = {}
    for part in rest.split(b","):
        name, _, value = part.strip().partition(b"=")
        if name in fields:
            raise _incomplete("A field of the Authorization header is repeated")
        fields[name] = value
    try:
        credential, signed, signature = (
            fields[b"Credential"],
            fields[b"SignedHeaders"],
            fields[b"Signature"],
        )
    except KeyError as missing:
        name = missing.args[0].decode()
        raise _incomplete(f"Authorization header requires '{name}' parameter.") from None
    date = table.get(b"x-amz-date", b"")
    return _checked(credential, signed, signature, date, None, table.get(b"x-amz-security-token"))


def _claim_of_query(parameters: Mapping[bytes, bytes]) -> _Claim:
    if parameters.get(b"X-Amz-Algorithm") != ALGORITHM:
        raise _incomplete("X-Amz-Algorithm only supports AWS4-HMAC-SHA256")
    expires = parameters.get(b"X-Amz-Expires", b"")
    if not expires.isdigit() or len(expires) > 6 or not 1 <= int(expires) <= MAX_EXPIRES_S:
        raise _incomplete(f"X-Amz-Expires must be between 1 and {MAX_EXPIRES_S} seconds")
    return _checked(
        parameters.get(b"X-Amz-Credential", b""),
        parameters.get(b"X-Amz-SignedHeaders", b""),
        parameters[b"X-Amz-Signature"],
        parameters.get(b"X-Amz-Date", b""),
        int(expires),
        parameters.get(b"X-Amz-Security-Token"),
    )


def _checked(
    credential: bytes,
    signed: bytes,
    signature: bytes,
    date: bytes,
    expires: int | None,
    token: bytes | None,
) -> _Claim:
    parts = credential.rsplit(b"/", 4)
    if len(parts) != 5 or not all(parts) or parts[4] != b"aws4_request":
        raise _incomplete(
            f"Credential must have exactly 5 slash-delimited elements, got '{credential[:200].decode('latin-1')}'"
        )
    if _DATE.match(date) is None:
        raise _incomplete(
            "Authorization header requires existence of either a valid 'X-Amz-Date' or a 'Date' header."
        )
    if not _HEX64.match(signature):
        raise _incomplete("The signature is not 64 hexadecimal digits")
    return _Claim(
        parts[0].decode("latin-1"),
        parts[1],
        parts[2],
        parts[3],
        signed,
        signature,
        date,
        expires,
        token,
    )


def _canonical_headers(claim: _Claim, service: str, table: Mapping[bytes, bytes]) -> bytes:
    names = claim.signed_headers.split(b";")
    if names != sorted(set(names)) or b"host" not in names:
        raise _incomplete("SignedHeaders must be sorted, without repetitions, and name 'host'")
    signed = set(names)
    for name in table:
        if name.startswith(b"x-amz-") and name not in signed and name not in _NEED_NOT_BE_SIGNED:
            code = (
                "AccessDenied"
                if service == "s3"
                else _named(service, "SignatureDoesNotMatch", "InvalidSignatureException")
            )
            text = f"There were headers present in the request which were not signed: {name.decode('latin-1')}"
            raise SignatureError(code, text, 403)
    lines = []
    for name in names:
        value = table.get(name)
        if value is None:
            raise _mismatch(service)
        lines.append(name + b":" + b" ".join(value.split()) + b"\n")
    return b"".join(lines)


def _payload_hash(
    claim: _Claim,
    service: str,
    table: Mapping[bytes, bytes],
    parameters: Mapping[bytes, bytes],
    body: bytes,
    body_sha256: str | None,
) -> bytes:
    """What stands for the body in the canonical request."""
    said = table.get(b"x-amz-content-sha256", parameters.get(b"X-Amz-Content-Sha256"))
    if said is None and claim.expires is not None and service == "s3":
        return UNSIGNED
    if service == "s3" and (said == UNSIGNED or said in _CHUNKED):
        return said
    if said == UNSIGNED and claim.expires is not None:
        return said
    ours = (body_sha256 or sha256(body).hexdigest()).encode()
    if said is not None and not hmac.compare_digest(said, ours):
        if service == "s3":
            text = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise SignatureError("XAmzContentSHA256Mismatch", text, 400)
        raise _mismatch(service)
    return ours


def _unchunk(
    kind: bytes, chain: awschunked.Chain, table: Mapping[bytes, bytes], body: bytes, service: str
) -> awschunked.Decoded:
    announced = table.get(b"x-amz-decoded-content-length")
    if announced is not None and not (announced.isdigit() and len(announced) < 16):
        raise SignatureError("InvalidArgument", "x-amz-decoded-content-length is not a number", 400)
    try:
        return awschunked.decode(
            body,
            None if kind == _UNSIGNED_CHUNKS_TRAILER else chain,
            trailers=kind != _SIGNED_CHUNKS,
            length=None if announced is None else int(announced),
        )
    except awschunked.WrongChunkSignature:
        raise _mismatch(service) from None
    except awschunked.BadChunks as error:
        raise SignatureError("IncompleteBody", str(error), 400) from None


def _seconds(date: bytes) -> float:
    match = _DATE.match(date)
    assert match is not None
    year, month, day, hour, minute, second = (int(part) for part in match.groups())
    return timegm((year, max(1, min(month, 12)), day, hour, minute, second, 0, 0, 0))


def _named(service: str, xml: str, json: str) -> str:
    return xml if service in _XML_SERVICES else json


def _incomplete(text: str) -> SignatureError:
    return SignatureError("IncompleteSignature", text, 400)


def _expired(service: str, text: str) -> SignatureError:
    if service == "s3":
        return SignatureError("RequestTimeTooSkewed", text, 403)
    return SignatureError(
        _named(service, "SignatureDoesNotMatch", "InvalidSignatureException"), text, 403
    )


def _mismatch(service: str) -> SignatureError:
    text = (
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )
    return SignatureError(
        _named(service, "SignatureDoesNotMatch", "InvalidSignatureException"), text, 403
    )
