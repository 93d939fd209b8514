"""Requests signed by botocore, as they arrive at the verifier."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from forerun.api.protocol import ApiError
from forerun.api.sigv4 import SecretKey, Verifier

KEYS = {
    "AKIDEXAMPLE": SecretKey("secret/example+key"),
    "ASIATEMPORARY": SecretKey("other", session_token="token+/=", expires_at=2e9),
    "ASIAEXPIRED": SecretKey("other", session_token="token", expires_at=1e9),
}


def lookup(key, token):
    return KEYS.get(key)


HEADER_SIGNERS = {"lambda": botocore.auth.SigV4Auth, "s3": botocore.auth.S3SigV4Auth}
QUERY_SIGNERS = {"lambda": botocore.auth.SigV4QueryAuth, "s3": botocore.auth.S3SigV4QueryAuth}


class Wire:
    """A signed request as it arrives, to be tampered with."""

    def __init__(self, prepared):
        url = urlsplit(prepared.url)
        self.method = prepared.method
        self.path, self.query = url.path.encode(), url.query.encode()
        self.headers = [(b"Host", url.netloc.encode())]
        self.headers += [
            (name.encode(), value.encode() if isinstance(value, str) else value)
            for name, value in prepared.headers.items()
        ]
        self.body = prepared.body or b""

    def set(self, name, value):
        self.headers = [(key, old) for key, old in self.headers if key.lower() != name.lower()]
        if value is not None:
            self.headers.append((name, value))

    def get(self, name):
        return next(value for key, value in self.headers if key.lower() == name.lower())

    def verify(self, now=None, verifier=None):
        verifier = verifier or Verifier(lookup, lambda: now or datetime.now(UTC).timestamp())
        return verifier.verify(self.method, self.path, self.query, self.headers, self.body)


def signed(
    path="/2015-03-31/functions",
    *,
    service="lambda",
    key="AKIDEXAMPLE",
    method="POST",
    body=b"{}",
    headers=(),
    query=False,
):
    secret = KEYS[key]
    credentials = Credentials(key, secret.secret, secret.session_token)
    request = AWSRequest(method, f"http://127.0.0.1:3000{path}", headers=dict(headers), data=body)
    signer = (QUERY_SIGNERS if query else HEADER_SIGNERS)[service]
    if query:
        signer(credentials, service, "us-home-1", expires=900).add_auth(request)
    else:
        signer(credentials, service, "us-home-1").add_auth(request)
    return Wire(request.prepare())


def refusal(wire, **arguments):
    with pytest.raises(ApiError) as caught:
        wire.verify(**arguments)
    return caught.value
