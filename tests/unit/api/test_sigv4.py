"""The verifier against botocore's own signers, and against everything that must not pass."""

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.api.signing import (
    KEYS,
    lookup,
    refusal,
    signed,
)

from forerun.api import sigv4
from forerun.api.protocol import ApiError
from forerun.api.sigv4 import SecretKey, Verifier

ODD = [
    "/2015-03-31/functions/a%20b/invocations",
    "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-home-1%3A1%3Afunction%3Ax",
    "/a%2Fb/c",
    "//double//slash/",
    "/caf%C3%A9/~tilde-_.x",
    "/plus+sign/@at",
    "/.dot/./x/../y",
    "/",
    "/q?b=2&a=1&a=0&empty=&flag",
    "/q?key=with%20space&other=%2B%2F%3D&tilde=~",
    "/q?%C3%A9=1&A=2&a=3",
]


@pytest.mark.parametrize("path", ODD)
@pytest.mark.parametrize("service", ["lambda", "s3"])
@pytest.mark.parametrize("body", [b"", b'{"a": 1}'])
def test_headers_signed_by_botocore_are_accepted(path, service, body):
    wire = signed(
        path,
        service=service,
        body=body,
        headers={"X-Amz-Target": "a  b   c", "Content-Type": " x/y "},
    )
    found = wire.verify()
    assert (found.access_key_id, found.region, found.service) == (
        "AKIDEXAMPLE",
        "us-home-1",
        service,
    )
    assert found.body == body
    assert not found.presigned


@pytest.mark.parametrize(
    "path", ["/2015-03-31/functions", "/a%20b/c%2Fd", "/q?b=2&a=1", "/caf%C3%A9?x=%2B+"]
)
@pytest.mark.parametrize("service", ["lambda", "s3"])
@pytest.mark.parametrize("key", ["AKIDEXAMPLE", "ASIATEMPORARY"])
def test_presigned_by_botocore_is_accepted(path, service, key):
    found = signed(path, service=service, method="GET", body=b"", query=True, key=key).verify()
    assert found.presigned
    assert (found.access_key_id, found.session_token) == (key, KEYS[key].session_token or "")


segment = st.text(st.sampled_from("abZ09-_.~%2F+@:, é"), max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    segments=st.lists(segment, max_size=4),
    pairs=st.lists(st.tuples(segment, segment), max_size=4),
    body=st.binary(max_size=20),
    service=st.sampled_from(["lambda", "s3"]),
)
def test_any_encoded_path_and_query_is_read_as_botocore_signs_it(segments, pairs, body, service):
    from urllib.parse import quote

    path = "/" + "/".join(quote(part, safe="~") for part in segments)
    query = "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in pairs)
    signed(f"{path}?{query}" if query else path, service=service, body=body).verify()


@pytest.mark.parametrize(
    "tamper",
    [
        lambda wire: setattr(wire, "body", wire.body + b" "),
        lambda wire: setattr(wire, "path", wire.path + b"x"),
        lambda wire: setattr(wire, "query", b"a=1"),
        lambda wire: setattr(wire, "method", "PUT"),
        lambda wire: wire.set(b"Host", b"elsewhere"),
        lambda wire: wire.set(b"X-Amz-Target", b"Other.Operation"),
        lambda wire: wire.set(b"X-Amz-Invocation-Type", b"Event"),
        lambda wire: wire.set(b"X-Amz-Content-Sha256", b"UNSIGNED-PAYLOAD"),
        lambda wire: wire.set(b"X-Amz-Content-Sha256", hashlib.sha256(b"").hexdigest().encode()),
    ],
)
def test_whatever_is_changed_on_the_way_is_noticed(tamper):
    wire = signed(headers={"X-Amz-Target": "One.Operation"})
    tamper(wire)
    error = refusal(wire)
    assert (error.code, error.status) == ("InvalidSignatureException", 403)


def test_a_body_hash_given_by_the_caller_is_what_counts():
    wire = signed(body=b"one")
    verifier = Verifier(lookup, lambda: datetime.now(UTC).timestamp())
    arguments = wire.method, wire.path, wire.query, wire.headers, wire.body
    verifier.verify(*arguments, hashlib.sha256(b"one").hexdigest())
    with pytest.raises(ApiError):
        verifier.verify(*arguments, hashlib.sha256(b"two").hexdigest())


def test_the_names_of_errors_follow_the_service():
    wire = signed()
    wire.set(b"Authorization", None)
    assert (refusal(wire).code, refusal(wire).status) == (
        "MissingAuthenticationTokenException",
        403,
    )
    assert (
        refusal(swap(signed(), b"AKIDEXAMPLE", b"AKIDUNKNOWN")).code
        == "UnrecognizedClientException"
    )
    assert (
        refusal(swap(signed(service="s3"), b"AKIDEXAMPLE", b"AKIDUNKNOWN")).code
        == "InvalidAccessKeyId"
    )
    assert refusal(swap(signed(), b"/lambda/", b"/sts/")).code == "SignatureDoesNotMatch"
    assert refusal(signed(key="ASIAEXPIRED")).code == "ExpiredTokenException"


def swap(wire, old, new):
    wire.set(b"Authorization", wire.get(b"Authorization").replace(old, new))
    return wire


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA1"),
        (b"aws4_request", b"aws3_request"),
        (b"Credential=", b"Credentia="),
        (b"Signature=", b"Signature=zz"),
        (b"host;", b""),
        (b"host;x-amz-date", b"x-amz-date;host"),
        (b"Signature=", b"Signature=0, Signature="),
    ],
)
def test_an_authorization_header_that_is_not_well_formed_is_refused(old, new):
    error = refusal(swap(signed(), old, new))
    assert (error.code, error.status) == ("IncompleteSignature", 400)


def test_session_tokens_belong_to_their_key():
    signed(key="ASIATEMPORARY").verify()
    for wire, token in (
        (signed(key="ASIATEMPORARY"), None),
        (signed(key="ASIATEMPORARY"), b"other"),
        (signed(), b"any"),
    ):
        wire.set(b"X-Amz-Security-Token", token)
        assert refusal(wire).code == "UnrecognizedClientException"


@pytest.mark.parametrize(
    "name", [b"Host", b"Authorization", b"X-Amz-Date", b"x-amz-target", b"Content-Type"]
)
def test_a_header_that_matters_must_not_be_repeated(name):
    wire = signed(headers={"X-Amz-Target": "a.b", "Content-Type": "c"})
    wire.headers.append((name.upper(), wire.get(name)))
    assert refusal(wire).code == "IncompleteSignature"


@pytest.mark.parametrize(
    ("offset", "fine"), [(0, True), (299, True), (-299, True), (302, False), (-302, False)]
)
def test_the_clocks_may_differ_by_five_minutes(offset, fine):
    wire, now = signed(), datetime.now(UTC).timestamp() + offset
    if fine:
        wire.verify(now)
    else:
        error = refusal(wire, now=now)
        assert error.code == "InvalidSignatureException"
        assert error.message.startswith(
            "Signature expired" if offset > 0 else "Signature not yet current"
        )


def test_presigned_requests_end():
    now = datetime.now(UTC).timestamp()
    wire = signed(method="GET", body=b"", query=True)
    wire.verify(now + 895)
    assert refusal(wire, now=now + 905).code == "InvalidSignatureException"
    for expires in (b"0", b"604801", b"-1", b"x", b""):
        wire.query = wire.query.replace(b"X-Amz-Expires=900", b"X-Amz-Expires=" + expires)
        assert refusal(wire).code == "IncompleteSignature"
        wire = signed(method="GET", body=b"", query=True)
    wire.query += b"&X-Amz-Credential=other"
    assert refusal(wire).status == 400


def test_the_scope_is_of_the_day_of_the_date():
    wire = signed()
    wire.set(b"X-Amz-Date", b"20200101T000000Z")
    assert refusal(wire).code == "InvalidSignatureException"
    for date in (b"yesterday", b"00000101T000000Z", b"20261341T000000Z", b""):
        wire.set(b"X-Amz-Date", date)
        assert refusal(wire).code == "IncompleteSignature"


def test_signing_keys_are_kept_within_bounds_and_forgotten(monkeypatch):
    monkeypatch.setattr(sigv4, "CACHED_KEYS", 2)
    keys = dict(KEYS)
    verifier = Verifier(lambda key, _: keys.get(key), lambda: datetime.now(UTC).timestamp())
    for service in ("lambda", "s3", "lambda"):
        signed(service=service).verify(verifier=verifier)
    signed(key="ASIATEMPORARY").verify(verifier=verifier)
    assert len(verifier._keys) == 2
    keys["AKIDEXAMPLE"] = SecretKey("changed")
    refusal(signed(), verifier=verifier)
    verifier.forget("AKIDEXAMPLE")
    assert {entry[0] for entry in verifier._keys} == {"ASIATEMPORARY"}


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"",
            b"AWS4-HMAC-SHA256 ",
            b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/r/lambda/aws4_request, ",
        ]
    ),
    st.binary(max_size=60),
)
def test_no_bytes_at_all_bring_it_down(query, start, rest):
    wire = signed(body=b"")
    wire.query = query
    wire.set(b"Authorization", start + rest)
    assert refusal(wire).status in (400, 403)
    wire.set(b"Authorization", None)
    wire.query = (
        b"X-Amz-Signature="
        + b"0" * 64
        + b"&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=9&X-Amz-Date="
        + rest
    )
    assert refusal(wire).status in (400, 403)
    wire = swap(signed(), b"/2", b"/x" + rest.replace(b",", b"")[:3])
    assert refusal(wire).status in (400, 403)
