"""Bodies that are signed chunk by chunk: unframed, checked, and refused when anything was changed."""

import hashlib
import hmac

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.unit.api.signing import (
    KEYS,
    Wire,
    refusal,
)


class Uploader(botocore.auth.S3SigV4Auth):
    """Signs the head of a chunked upload; the chunks are ours to sign."""

    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

    def payload(self, request):
        return self.kind


def upload(kind, chunks, trailer=b"x-amz-checksum-crc32:AAAAAA=="):
    signer = Uploader(Credentials("AKIDEXAMPLE", KEYS["AKIDEXAMPLE"].secret), "s3", "us-home-1")
    signer.kind = kind
    headers = {
        "x-amz-decoded-content-length": str(sum(map(len, chunks))),
        "content-encoding": "aws-chunked",
    }
    request = AWSRequest("PUT", "http://127.0.0.1:3000/bucket/key", headers=headers, data=b"")
    signer.add_auth(request)
    wire = Wire(request.prepare())
    date = wire.get(b"X-Amz-Date")
    scope = b"/".join((date[:8], b"us-home-1", b"s3", b"aws4_request"))
    key = b"AWS4" + KEYS["AKIDEXAMPLE"].secret.encode()
    for part in scope.split(b"/"):
        key = hmac.digest(key, part, "sha256")
    previous = wire.get(b"Authorization").rpartition(b"=")[2]

    def follow(label, *hashed):
        nonlocal previous
        hashes = [hashlib.sha256(text).hexdigest().encode() for text in hashed]
        previous = (
            hmac.digest(key, b"\n".join([label, date, scope, previous, *hashes]), "sha256")
            .hex()
            .encode()
        )
        return previous

    body = b""
    for chunk in [*chunks, b""]:
        mark = b""
        if not kind.startswith("STREAMING-UNSIGNED"):
            mark = b";chunk-signature=" + follow(b"AWS4-HMAC-SHA256-PAYLOAD", b"", chunk)
        body += b"%x%s\r\n%s" % (len(chunk), mark, chunk + b"\r\n" if chunk else b"")
    if kind.endswith("TRAILER"):
        body += trailer + b"\r\n"
        if not kind.startswith("STREAMING-UNSIGNED"):
            body += (
                b"x-amz-trailer-signature:"
                + follow(b"AWS4-HMAC-SHA256-TRAILER", trailer + b"\n")
                + b"\r\n"
            )
    wire.body = body + b"\r\n"
    return wire


KINDS = [
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
]


@pytest.mark.parametrize("kind", KINDS)
def test_chunked_uploads_are_unframed_and_checked(kind):
    found = upload(kind, [b"a" * 70_000, b"\r\nb"]).verify()
    assert found.body == b"a" * 70_000 + b"\r\nb"
    assert found.trailers == (
        {b"x-amz-checksum-crc32": b"AAAAAA=="} if kind.endswith("TRAILER") else {}
    )


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize(
    ("old", "new"),
    [(b"one", b"two"), (b"3;", b"003;chunk-signature=0;"), (b"signature=", b"signature=0")],
)
def test_a_changed_chunk_is_noticed(kind, old, new):
    wire = upload(kind, [b"one"])
    wire.body = wire.body.replace(old, new, 1)
    assert refusal(wire).code == "SignatureDoesNotMatch"


def test_a_changed_trailer_is_noticed():
    wire = upload(KINDS[1], [b"one"])
    wire.body = wire.body.replace(b"AAAAAA", b"BBBBBB")
    assert refusal(wire).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"zz\r\n",
        b"5\r\nabc",
        b"3\r\nabcXX",
        b"-1\r\n",
        b"3\r\none\r\n0\r\nno colon\r\n\r\n",
        b"0\r\n\r\n",
    ],
)
def test_broken_framing_is_refused(body):
    wire = upload(KINDS[2], [b"one"])
    wire.body = body
    assert refusal(wire).code == "IncompleteBody"
