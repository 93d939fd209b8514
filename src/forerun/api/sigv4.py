"""AWS Signature Version 4, checked: who sent a request, and that nobody changed it on the way.

Header-signed and presigned requests, and S3's chunked uploads. The hash of the body is always our own: what a client says about
it is only compared. Whatever could be read in two ways (repeated headers that matter, a signature in two places) is refused.
Not checked here: whether the caller may do what he asks, and whether the same request was seen before.
"""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from forerun.api import awschunked
from forerun.api.canonical import canonical_path, canonical_query
from forerun.api.signature_claim import (
    ALGORITHM,
    Claim,
    SignatureError,
    header_table,
    incomplete,
    query_parameters,
    read_claim,
)

__all__ = ["Head", "SecretKey", "SignatureError", "Signed", "Verifier", "decoded_length"]

MAX_SKEW_S = 300
CACHED_KEYS = 4096
_REMEMBERED = 1024
UNSIGNED = b"UNSIGNED-PAYLOAD"
_SIGNED_CHUNKS = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_SIGNED_CHUNKS_TRAILER = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
_UNSIGNED_CHUNKS_TRAILER = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_CHUNKED = frozenset({_SIGNED_CHUNKS, _SIGNED_CHUNKS_TRAILER, _UNSIGNED_CHUNKS_TRAILER})

_DATE = re.compile(rb"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\Z")
_HEX64 = re.compile(rb"[0-9a-f]{64}\Z")
_NEED_NOT_BE_SIGNED = frozenset({b"x-amz-user-agent"})
_XML_SERVICES = frozenset(
    {"sts", "iam", "s3", "sns", "cloudformation", "sqs", "autoscaling", "monitoring"}
)


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


class Head(NamedTuple):
    """A request to S3 whose head is verified and whose body is still to come.

    ``payload`` is what stands for the body in the signature: its SHA-256, ``UNSIGNED``, or the name of a chunked form, whose
    chunks are then signed with ``chain``.
    """

    access_key_id: str
    session_token: str
    region: str
    presigned: bool
    payload: bytes
    chain: awschunked.Chain

    @property
    def sha256(self) -> str | None:
        """The hash that the body must have; ``None`` when the signature names none."""
        return self.payload.decode() if _HEX64.match(self.payload) else None

    def unframer(self, announced: bytes | None) -> awschunked.Unframer | None:
        """What takes the framing off the body; ``None`` for a plain one. ``announced``: ``x-amz-decoded-content-length``."""
        if self.payload not in _CHUNKED:
            return None
        return awschunked.Unframer(
            None if self.payload == _UNSIGNED_CHUNKS_TRAILER else self.chain,
            trailers=self.payload != _SIGNED_CHUNKS,
            length=decoded_length(announced),
        )


class Verifier:
    """Verifies requests; keeps derived signing keys (at most ``CACHED_KEYS``, oldest out first).

    ``lookup`` answers what is known of an access key id and the session token that came with it (empty without one), or
    ``None``; ``now`` is the time in epoch seconds.
    """

    def __init__(
        self, lookup: Callable[[str, str], SecretKey | None], now: Callable[[], float]
    ) -> None:
        self._lookup = lookup
        self.now = now
        self._keys: dict[tuple[str, bytes, bytes, bytes], tuple[str, bytes]] = {}
        self._last_date: tuple[bytes | None, float] = (
            None,
            0.0,
        )  # requests of one second carry one date

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
        table = header_table(headers)
        parameters = query_parameters(query)
        claim = read_claim(table, parameters)
        service = claim.service.decode("latin-1")
        key = self._known(claim, service)
        self._in_time(claim, service)
        payload = _payload_hash(claim, service, table, parameters, body, body_sha256)
        signing_key = self._signed(claim, key, table, method, raw_path, query, payload)
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
            claim.date.decode("latin-1"),
            presigned,
            body,
            trailers,
        )

    def verify_head(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        headers: Sequence[tuple[bytes, bytes]],
    ) -> Head:
        """The verified head of a request to S3, before its body is read. Raises ``SignatureError``.

        The body is what the head was signed for only if it keeps to ``Head.payload``.
        """
        table = header_table(headers)
        parameters = query_parameters(query)
        claim = read_claim(table, parameters)
        if claim.service != b"s3":
            raise _mismatch("s3")
        key = self._known(claim, "s3")
        self._in_time(claim, "s3")
        payload = table.get(b"x-amz-content-sha256", parameters.get(b"X-Amz-Content-Sha256"))
        if payload is None and claim.expires is not None:
            payload = UNSIGNED
        if payload is None:
            text = "Missing required header for this request: x-amz-content-sha256"
            raise SignatureError("InvalidRequest", text, 400)
        if payload != UNSIGNED and payload not in _CHUNKED and not _HEX64.match(payload):
            text = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, or a valid sha256 value."
            raise SignatureError("InvalidArgument", text, 400)
        signing_key = self._signed(claim, key, table, method, raw_path, query, payload)
        return Head(
            claim.access_key_id,
            (claim.token or b"").decode("latin-1"),
            claim.region.decode("latin-1"),
            claim.expires is not None,
            payload,
            awschunked.Chain(signing_key, claim.date, claim.scope, claim.signature),
        )

    def _signed(  # noqa: PLR0913, PLR0917 the parts of a request
        self,
        claim: Claim,
        key: SecretKey,
        table: Mapping[bytes, bytes],
        method: str,
        raw_path: bytes,
        query: bytes,
        payload: bytes,
    ) -> bytes:
        """The key that the request was signed with. Raises ``SignatureError``."""
        service = claim.service.decode("latin-1")
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
        return signing_key

    def _known(self, claim: Claim, service: str) -> SecretKey:
        key = self._lookup(claim.access_key_id, (claim.token or b"").decode("latin-1"))
        token = (key.session_token or "").encode() if key is not None else b""
        if key is None or not hmac.compare_digest(token, claim.token or b""):
            code = _named(service, "InvalidClientTokenId", "UnrecognizedClientException")
            code = "InvalidAccessKeyId" if service == "s3" else code
            raise SignatureError(
                code, "The security token included in the request is invalid.", 403
            )
        if key.expires_at is not None and key.expires_at <= self.now():
            code = _named(service, "ExpiredToken", "ExpiredTokenException")
            raise SignatureError(code, "The security token included in the request is expired", 403)
        return key

    def _in_time(self, claim: Claim, service: str) -> None:
        if self._last_date[0] != claim.date:
            self._last_date = (claim.date, _seconds(claim.date))
        now, signed = self.now(), self._last_date[1]
        if claim.date[:8] != claim.day:
            text = f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{claim.day.decode('latin-1')}' != '{claim.date[:8].decode()}', from '{claim.date.decode('latin-1')}'."
            raise SignatureError(
                _named(service, "SignatureDoesNotMatch", "InvalidSignatureException"), text, 403
            )
        if signed > now + MAX_SKEW_S:
            raise _expired(
                service,
                f"Signature not yet current: {claim.date.decode('latin-1')} is still later than the server's time",
            )
        lifetime = MAX_SKEW_S if claim.expires is None else claim.expires
        if now > signed + lifetime:
            if service == "s3" and claim.expires is not None:
                raise SignatureError("AccessDenied", "Request has expired", 403)
            raise _expired(
                service,
                f"Signature expired: {claim.date.decode('latin-1')} is more than {lifetime} seconds ago",
            )

    def _signing_key(self, claim: Claim, secret: str) -> bytes:
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


def _canonical_headers(claim: Claim, service: str, table: Mapping[bytes, bytes]) -> bytes:
    names = (
        _signed_names(claim.signed_headers)
        if len(claim.signed_headers) < _REMEMBERED
        else _signed_names.__wrapped__(claim.signed_headers)
    )
    for name in table:
        if name.startswith(b"x-amz-") and name not in names and name not in _NEED_NOT_BE_SIGNED:
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


@lru_cache(maxsize=1024)
def _signed_names(signed_headers: bytes) -> tuple[bytes, ...]:
    names = signed_headers.split(b";")
    if names != sorted(set(names)) or b"host" not in names:
        raise incomplete("SignedHeaders must be sorted, without repetitions, and name 'host'")
    return tuple(names)


def _payload_hash(
    claim: Claim,
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
    announced = decoded_length(table.get(b"x-amz-decoded-content-length"))
    try:
        return awschunked.decode(
            body,
            None if kind == _UNSIGNED_CHUNKS_TRAILER else chain,
            trailers=kind != _SIGNED_CHUNKS,
            length=announced,
        )
    except awschunked.WrongChunkSignature:
        raise _mismatch(service) from None
    except awschunked.BadChunks as error:
        raise SignatureError("IncompleteBody", str(error), 400) from None


def decoded_length(announced: bytes | None) -> int | None:
    """Bytes of a body without its framing, as a header says it. Raises ``SignatureError``."""
    if announced is None:
        return None
    if not (announced.isdigit() and len(announced) < 16):
        raise SignatureError("InvalidArgument", "x-amz-decoded-content-length is not a number", 400)
    return int(announced)


def _seconds(date: bytes) -> float:
    match = _DATE.match(date)
    try:
        year, month, day, hour, minute, second = map(int, match.groups() if match else ())
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        raise incomplete(
            "Authorization header requires existence of either a valid 'X-Amz-Date' or a 'Date' header."
        ) from None


def _named(service: str, xml: str, json: str) -> str:
    return xml if service in _XML_SERVICES else json


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
