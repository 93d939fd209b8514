"""Ranges and conditions as S3 reads them, which requests are S3's, and links of the older kind."""

import time
from types import SimpleNamespace
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from forerun.api.protocol import ApiError, HttpRequest
from forerun.api.s3.addressing import bucket_of_host, is_long, is_signed, place_of
from forerun.api.s3.buckets import check_policy
from forerun.api.s3.conditions import (
    NotModified,
    Span,
    copied_span,
    guard_of,
    part_span,
    require,
    span_of,
)
from forerun.api.s3.objects import copy_source
from forerun.api.sigv2 import verify_old_link
from forerun.api.sigv4 import SecretKey, SignatureError
from forerun.control.policies import MalformedPolicy
from forerun.errors import InvalidInput, PreconditionFailed
from forerun.sources.buckets import About, Guard, StoredObject

KNOWN = StoredObject(
    bucket="b", key="k", id="i", size=10, etag="abc", modified=1000.7, about=About(parts=(6, 4))
)
ALL = (0, 10, False)


@pytest.mark.parametrize(
    ("text", "size", "span"),
    [
        (None, 10, ALL),
        ("bytes=0-0", 10, (0, 1, True)),
        ("bytes=0-9", 10, (0, 10, True)),
        ("bytes=0-99", 10, (0, 10, True)),
        ("bytes=5-", 10, (5, 5, True)),
        ("bytes=-3", 10, (7, 3, True)),
        ("bytes=-99", 10, (0, 10, True)),
        ("bytes=9-9", 10, (9, 1, True)),
        ("bytes=3-1", 10, ALL),
        ("bytes=0-1,3-4", 10, ALL),
        ("bytes=-", 10, ALL),
        ("bytes=a-b", 10, ALL),
        ("lines=0-1", 10, ALL),
        (f"bytes={'9' * 5000}-", 10, ALL),
        (f"bytes=-{'9' * 5000}", 10, ALL),
        ("bytes=10-", 10, None),
        ("bytes=10-11", 10, None),
        ("bytes=-0", 10, None),
        ("bytes=0-", 0, None),
        ("bytes=-1", 0, None),
    ],
    ids=lambda each: str(each)[:30],
)
def test_ranges(text: str | None, size: int, span: tuple[int, int, bool] | None):
    if span is None:
        with pytest.raises(ApiError) as caught:
            span_of(text, size)
        assert (caught.value.code, caught.value.status) == ("InvalidRange", 416)
    else:
        assert span_of(text, size) == Span(*span)


@pytest.mark.parametrize("text", ["bytes=0-10", "bytes=5-4", "bytes=5-", "bytes=-5", "x"])
def test_ranges_of_parts_that_are_copied_are_within(text: str):
    assert copied_span("bytes=0-9", 10) == Span(0, 10, part=True)
    with pytest.raises(ApiError):
        copied_span(text, 10)


def test_parts_by_number():
    assert part_span(2, KNOWN) == Span(6, 4, part=True)
    with pytest.raises(ApiError):
        part_span(3, KNOWN)


def asked(**given: object) -> SimpleNamespace:
    names = ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince")
    return SimpleNamespace(**(dict.fromkeys(names) | given))


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({}, None),
        ({"IfMatch": '"abc"'}, None),
        ({"IfMatch": "*"}, None),
        ({"IfMatch": '"x", "abc"'}, None),
        ({"IfMatch": '"x"'}, PreconditionFailed),
        ({"IfNoneMatch": '"abc"'}, NotModified),
        ({"IfNoneMatch": 'W/"abc"'}, NotModified),
        ({"IfNoneMatch": '"x"'}, None),
        ({"IfModifiedSince": 1000.0}, NotModified),
        ({"IfModifiedSince": 999.0}, None),
        ({"IfUnmodifiedSince": 1000.0}, None),
        ({"IfUnmodifiedSince": 999.0}, PreconditionFailed),
        ({"IfMatch": '"abc"', "IfUnmodifiedSince": 999.0}, None),
        ({"IfNoneMatch": '"x"', "IfModifiedSince": 1000.0}, None),
        ({"IfMatch": '"abc"', "IfNoneMatch": '"abc"'}, NotModified),
    ],
    ids=str,
)
def test_conditions(given: dict[str, object], answer: type[Exception] | None):
    if answer is None:
        require(asked(**given), KNOWN)
    else:
        with pytest.raises(answer):
            require(asked(**given), KNOWN)


def test_guards():
    assert guard_of(asked(IfNoneMatch="*")) == Guard(absent=True)
    assert guard_of(asked(IfMatch='"abc"')) == Guard(etag="abc")
    for given in ({"IfNoneMatch": '"abc"'}, {"IfNoneMatch": "*", "IfMatch": '"a"'}):
        with pytest.raises(ApiError) as caught:
            guard_of(asked(**given))
        assert caught.value.code == "NotImplemented"


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        (b"127.0.0.1:4566", b""),
        (b"localhost:4566", b""),
        (b"s3.us-home-1.localhost:4566", b""),
        (b"my-bucket.localhost:4566", b"my-bucket"),
        (b"my.bucket.s3.us-home-1.amazonaws.com", b"my.bucket"),
        (b"my-bucket.s3.localhost", b"my-bucket"),
        (b"s3.localhost", b""),
        (b"[::1]:4566", b""),
        (b"", b""),
    ],
    ids=str,
)
def test_buckets_of_hosts(host: bytes, bucket: bytes):
    assert bucket_of_host(host, (b"localhost",)) == bucket


@pytest.mark.parametrize(
    ("path", "host", "place"),
    [
        (b"/", b"", ("", "")),
        (b"/b", b"", ("b", "")),
        (b"/b/", b"", ("b", "")),
        (b"/b/k/", b"", ("b", "k/")),
        (b"/b//k", b"", ("b", "/k")),
        (b"/b/..%2f+%25%20", b"", ("b", "../+% ")),
        (b"/", b"b", ("b", "")),
        (b"/k/l", b"b", ("b", "k/l")),
    ],
    ids=str,
)
def test_places(path: bytes, host: bytes, place: tuple[str, str]):
    assert place_of(path, host)[:2] == place


def test_places_that_are_none():
    with pytest.raises(ApiError) as caught:
        place_of(b"/b/%ff", b"")
    assert caught.value.code == "InvalidURI"


@pytest.mark.parametrize(
    ("authorization", "query", "answer"),
    [
        (b"AWS4-HMAC-SHA256 Credential=A/20260101/r/s3/aws4_request, Sig", b"", True),
        (b"AWS4-HMAC-SHA256 Credential=A/20260101/r/lambda/aws4_request, Sig", b"", False),
        (None, b"X-Amz-Credential=A%2F20260101%2Fr%2Fs3%2Faws4_request&x=1", True),
        (None, b"X-Amz-Credential=A%2F20260101%2Fr%2Fsqs%2Faws4_request&x=1", False),
        (None, b"AWSAccessKeyId=A&Signature=x&Expires=1", True),
        (None, b"list-type=2", None),
        (None, b"", None),
    ],
    ids=["header", "other", "query", "other-query", "older", "unsigned", "nothing"],
)
def test_whose_a_request_is(authorization: bytes | None, query: bytes, answer: bool | None):
    headers = [(b"host", b"x")] + ([(b"authorization", authorization)] if authorization else [])
    assert is_signed({"headers": headers, "query_string": query}) is answer
    assert is_long(b"/b/k?" + query, headers) is bool(answer)


@pytest.mark.parametrize(
    ("text", "place"),
    [("b/k", ("b", "k")), ("/b/k%20l/m", ("b", "k l/m")), ("b/k?versionId=null", ("b", "k"))],
)
def test_sources_of_copies(text: str, place: tuple[str, str]):
    assert copy_source(text) == place


@pytest.mark.parametrize("text", ["", "b", "/b/", "b/%ff"])
def test_sources_of_copies_that_are_none(text: str):
    with pytest.raises(InvalidInput):
        copy_source(text)


def policy(resource: str) -> str:
    return f'{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "{resource}"}}]}}'


def test_policies_are_about_their_bucket():
    check_policy("b", policy("arn:aws:s3:::b/*"))
    for text in (policy("arn:aws:s3:::bb/*"), policy("*"), "{}", "no json"):
        with pytest.raises(MalformedPolicy):
            check_policy("b", text)
    with pytest.raises(MalformedPolicy, match="20480"):
        check_policy("b", policy("arn:aws:s3:::b/*") + " " * 20_480)


# Links of the older kind

SECRET = "secret"


def link(path: str, *, token: str | None = None, expires: int = 600, **query: str) -> HttpRequest:
    asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    request = AWSRequest("GET", f"http://host{path}" + (f"?{asked}" if asked else ""))
    signer = botocore.auth.HmacV1QueryAuth(Credentials("AKID", SECRET, token), expires=expires)
    signer.add_auth(request)
    _, _, given = request.prepare().url.partition("?")
    return HttpRequest("GET", path.encode(), given.encode(), [(b"host", b"host")])


def verify(request: HttpRequest, *, now: float | None = None, token: str | None = None):
    keys = {"AKID": SecretKey(SECRET, token)}
    clock = (lambda: now) if now is not None else time.time
    return verify_old_link(request, lambda key, _token: keys.get(key), clock)


def test_good_links_of_the_older_kind():
    assert verify(link("/b/k%20l")) == ("AKID", "")
    assert verify(link("/b/k", **{"response-content-type": "text/plain"})) == ("AKID", "")
    assert verify(link("/b/k", token="tok"), token="tok") == ("AKID", "tok")


def test_bad_links_of_the_older_kind():
    good = link("/b/k")
    other = HttpRequest("GET", b"/b/other", good.query, good.headers)
    put = HttpRequest("PUT", b"/b/k", good.query, good.headers)
    named = HttpRequest("GET", b"/b/k", good.query.replace(b"AKID", b"OTHER"), good.headers)
    more = HttpRequest("GET", b"/b/k", good.query + b"&acl", good.headers)
    for request in (other, put, named, more):
        with pytest.raises(SignatureError):
            verify(request)
    with pytest.raises(SignatureError, match="expired"):
        verify(good, now=1e11)
    with pytest.raises(SignatureError, match="ahead"):
        verify(link("/b/k", expires=700_000))
    with pytest.raises(SignatureError):
        verify(link("/b/k", token="tok"))
