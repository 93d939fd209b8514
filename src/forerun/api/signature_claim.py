"""What a request says about its signature: read from the Authorization header or the query, nothing believed yet."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from forerun.api.protocol.messages import ApiError

MAX_EXPIRES_S = 604_800
ALGORITHM = b"AWS4-HMAC-SHA256"
_SIGNATURE = 64
_REMEMBERED = 1024
_HEX64 = re.compile(rb"[0-9a-f]{64}\Z")
_ONCE = frozenset(
    {b"authorization", b"host", b"date", b"content-length", b"content-type", b"content-encoding"}
)
_MAX_HEADERS = 200


class SignatureError(ApiError):
    """The request is not acceptable as signed; ``code`` is AWS's, after the habit of the service asked."""


class Claim(NamedTuple):
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
        """The credential scope, as it is signed."""
        return b"/".join((self.day, self.region, self.service, b"aws4_request"))


def header_table(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by lower-case name; one that matters must not be repeated. Raises ``SignatureError``."""
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


def query_parameters(query: bytes) -> dict[bytes, bytes]:
    """The ``X-Amz-`` parameters of a presigned request; a repeated one is refused. Raises ``SignatureError``."""
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


def read_claim(table: Mapping[bytes, bytes], parameters: Mapping[bytes, bytes]) -> Claim:
    """The claim of a request, well-formed. Raises ``SignatureError``."""
    authorization = table.get(b"authorization")
    if authorization is None and b"X-Amz-Signature" not in parameters:
        raise SignatureError(
            "MissingAuthenticationTokenException", "Missing Authentication Token", 403
        )
    if authorization is None:
        return _claim_of_query(parameters)
    if b"X-Amz-Signature" in parameters:
        raise incomplete("Only one authentication mechanism is allowed")
    # All requests of a client differ in the signature alone, which it writes last.
    head, _, signature = authorization.rpartition(b", Signature=")
    if head and len(signature) == _SIGNATURE and len(head) < _REMEMBERED:
        credential, signed = _read_head(head)
    else:
        fields = _fields(authorization)
        credential, signed = _required(fields, b"Credential"), _required(fields, b"SignedHeaders")
        signature = _required(fields, b"Signature")
    date = table.get(b"x-amz-date", b"")
    return _checked(credential, signed, signature, date, None, table.get(b"x-amz-security-token"))


@lru_cache(maxsize=1024)
def _read_head(head: bytes) -> tuple[bytes, bytes]:
    """Credential and signed headers of an Authorization header without its signature."""
    fields = _fields(head)
    if b"Signature" in fields:
        raise incomplete("A field of the Authorization header is repeated")
    return _required(fields, b"Credential"), _required(fields, b"SignedHeaders")


def _fields(authorization: bytes) -> dict[bytes, bytes]:
    algorithm, _, rest = authorization.partition(b" ")
    if algorithm != ALGORITHM:
        raise incomplete("Unsupported AWS 'algorithm' in Authorization header")
    fields: dict[bytes, bytes] = {}
    for part in rest.split(b","):
        name, _, value = part.strip().partition(b"=")
        if name in fields:
            raise incomplete("A field of the Authorization header is repeated")
        fields[name] = value
    return fields


def _required(fields: Mapping[bytes, bytes], name: bytes) -> bytes:
    value = fields.get(name)
    if value is None:
        raise incomplete(f"Authorization header requires '{name.decode()}' parameter.")
    return value


def _claim_of_query(parameters: Mapping[bytes, bytes]) -> Claim:
    if parameters.get(b"X-Amz-Algorithm") != ALGORITHM:
        raise incomplete("X-Amz-Algorithm only supports AWS4-HMAC-SHA256")
    expires = parameters.get(b"X-Amz-Expires", b"")
    if not expires.isdigit() or len(expires) > 6 or not 1 <= int(expires) <= MAX_EXPIRES_S:
        raise incomplete(f"X-Amz-Expires must be between 1 and {MAX_EXPIRES_S} seconds")
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
) -> Claim:
    parts = credential.rsplit(b"/", 4)
    if len(parts) != 5 or not all(parts) or parts[4] != b"aws4_request":
        raise incomplete(
            f"Credential must have exactly 5 slash-delimited elements, got '{credential[:200].decode('latin-1')}'"
        )
    if not _HEX64.match(signature):
        raise incomplete("The signature is not 64 hexadecimal digits")
    return Claim(
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


def incomplete(text: str) -> SignatureError:
    """The error for a signature that is not well-formed."""
    return SignatureError("IncompleteSignature", text, 400)
