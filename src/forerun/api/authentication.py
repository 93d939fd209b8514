"""From a signed request to its caller."""

import re
from typing import Protocol

from forerun.aio import Scope
from forerun.api.caller import Caller
from forerun.api.protocol import HttpRequest
from forerun.api.sigv2 import is_old_link, verify_old_link
from forerun.api.sigv4 import Head, SecretKey, SignatureError, Verifier

_CREDENTIAL = re.compile(rb"Credential=([A-Z0-9]{16,128})(?:/|%2F)")


class Principal(Protocol):
    """Who an access key stands for."""

    @property
    def account(self) -> str: ...  # noqa: D102

    @property
    def principal_arn(self) -> str: ...  # noqa: D102


class KeyRing(Protocol):
    """Knows access keys without waiting."""

    def secret(self, access_key_id: str, session_token: str) -> SecretKey | None:
        """What a signature is checked with; ``None`` for an unknown, disabled or forged key."""
        ...

    def principal(self, access_key_id: str, session_token: str) -> Principal:
        """Who it stands for; only asked after its signature was found good."""
        ...


class Authenticator:
    """Verifies signatures for one region."""

    def __init__(self, verifier: Verifier, keys: KeyRing, region: str) -> None:
        self._verifier = verifier
        self._keys = keys
        self.region = region

    def knows(self, scope: Scope) -> bool:
        """Whether the head of a request names a key that exists; asked before much of a stranger's body is read."""
        headers = dict(scope["headers"])
        found = _CREDENTIAL.search(headers.get(b"authorization", b"")) or _CREDENTIAL.search(
            scope["query_string"]
        )
        token = headers.get(b"x-amz-security-token", b"").decode("latin-1")
        return found is not None and self._keys.secret(found[1].decode(), token) is not None

    def caller(
        self, scope: Scope, request: HttpRequest, request_id: str, body_sha256: str | None
    ) -> Caller:
        """Who sent it; ``request.body`` loses its chunk framing, if it had one. Raises ``SignatureError``."""
        signed = self._verifier.verify(
            request.method,
            request.path,
            request.query,
            request.headers,
            request.body,
            body_sha256,
        )
        if signed.region != self.region and signed.service not in _GLOBAL:
            raise SignatureError(
                "SignatureDoesNotMatch" if signed.service in _XML else "InvalidSignatureException",
                f"Credential should be scoped to a valid region: '{signed.region}' is not '{self.region}'.",
                403,
            )
        request.body = signed.body
        return self._caller(
            scope, request, request_id, (signed.access_key_id, signed.session_token)
        )

    def head(
        self, scope: Scope, request: HttpRequest, bucket_path: bytes, request_id: str
    ) -> tuple[Caller, Head | None]:
        """Who sent a request to S3, of which the head alone was read. Raises ``SignatureError``.

        ``bucket_path`` is the path with the bucket in front, also where the host names it. Of links signed in S3's older
        way there is no head: they say nothing of the body.
        """
        if is_old_link(request.query):
            asked = HttpRequest(request.method, bucket_path, request.query, request.headers)
            key = verify_old_link(asked, self._keys.secret, self._verifier.now)
            return self._caller(scope, request, request_id, key), None
        head = self._verifier.verify_head(
            request.method, request.path, request.query, request.headers
        )
        if head.region != self.region:
            query = head.presigned
            raise SignatureError(
                "AuthorizationQueryParametersError" if query else "AuthorizationHeaderMalformed",
                f"{'Error parsing the X-Amz-Credential parameter' if query else 'The authorization header is malformed'}; "
                f"the region '{head.region}' is wrong; expecting '{self.region}'",
                400,
                {"Region": self.region},
            )
        return self._caller(
            scope, request, request_id, (head.access_key_id, head.session_token)
        ), head

    def _caller(
        self, scope: Scope, request: HttpRequest, request_id: str, key: tuple[str, str]
    ) -> Caller:
        principal = self._keys.principal(*key)
        client = scope["client"]
        return Caller(
            account=principal.account,
            region=self.region,
            principal_arn=principal.principal_arn,
            access_key_id=key[0],
            request_id=request_id,
            source_ip=client[0] if client else "",
            user_agent=request.header.get(b"user-agent", b"").decode("latin-1"),
        )


# Clients sign these for us-east-1, wherever they are.
_GLOBAL = frozenset({"iam", "sts"})
_XML = frozenset({"s3", "sqs", "sns", "cloudformation"})
