"""Signatures of webhooks: the senders' own published examples, what is wrong, too old, or of another secret."""

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.errors import AccessDenied, ForerunError, InvalidInput
from forerun.sources.hooks.schemes import Request, verify
from forerun.storage.hooks import Scheme

# Examples that the senders document, with the moment at which each was signed.
STANDARD = (
    {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    b'{"test": 2432232314}',
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    1614265330.0,
)
GITHUB = (
    {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    },
    b"Hello, World!",
    "It's a Secret to Everybody",
    0.0,
)
SLACK = (
    {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    },
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
    "8f742231b10e8888abcd99yyyzzz85a5",
    1531420618.0,
)


def stripe_example() -> tuple[dict[str, str], bytes, str, float]:
    """Stripe documents the form and no secret: signed here as its text says."""
    body = b'{"id":"evt_1","type":"charge.succeeded"}'
    digest = hmac.new(b"whsec_test_secret", b"1492774577." + body, hashlib.sha256).hexdigest()
    header = f"t=1492774577,v1={digest},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
    return {"stripe-signature": header}, body, "whsec_test_secret", 1492774577.0


EXAMPLES = {
    Scheme.STANDARD: STANDARD,
    Scheme.GITHUB: GITHUB,
    Scheme.SLACK: SLACK,
    Scheme.STRIPE: stripe_example(),
}
OTHER = "whsec_" + base64.b64encode(b"x" * 24).decode()
SIGNED = sorted(EXAMPLES)
TIMED = [scheme for scheme in SIGNED if scheme is not Scheme.GITHUB]


@pytest.mark.parametrize("scheme", SIGNED)
def test_published_examples_are_good(scheme: Scheme) -> None:
    headers, body, secret, now = EXAMPLES[scheme]
    verified = verify(scheme, Request(headers, body, now, 300.0), [secret])
    assert verified.key
    again = verify(scheme, Request(headers, body, now + 299, 300.0), [OTHER, secret])
    assert again.key == verified.key


@pytest.mark.parametrize("scheme", SIGNED)
def test_another_body_secret_or_header_is_refused(scheme: Scheme) -> None:
    headers, body, secret, now = EXAMPLES[scheme]

    with pytest.raises(AccessDenied, match="does not match"):
        verify(scheme, Request(headers, body + b" ", now, 300.0), [secret])
    with pytest.raises(AccessDenied, match="does not match"):
        verify(scheme, Request(headers, body, now, 300.0), [OTHER])
    with pytest.raises(AccessDenied, match="does not match"):
        verify(scheme, Request(headers, body, now, 300.0), [])
    for name in headers:
        without = {key: value for key, value in headers.items() if key != name}
        with pytest.raises(AccessDenied, match="is missing"):
            verify(scheme, Request(without, body, now, 300.0), [secret])


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize("off", [-301.0, 301.0])
def test_what_is_too_old_or_from_the_future_is_refused(scheme: Scheme, off: float) -> None:
    headers, body, secret, now = EXAMPLES[scheme]
    with pytest.raises(AccessDenied, match="too old" if off > 0 else "future"):
        verify(scheme, Request(headers, body, now + off, 300.0), [secret])


@pytest.mark.parametrize("scheme", TIMED)
def test_a_moment_that_was_not_signed_does_not_help(scheme: Scheme) -> None:
    headers, body, secret, now = EXAMPLES[scheme]
    later = {
        name: value.replace(f"{now:.0f}", f"{now + 600:.0f}") for name, value in headers.items()
    }
    assert later != headers
    with pytest.raises(AccessDenied, match="does not match"):
        verify(scheme, Request(later, body, now + 600, 300.0), [secret])


@pytest.mark.parametrize("stamp", ["", "soon", "-1", "1e9", "1" * 13, "²"])
def test_broken_timestamps(stamp: str) -> None:
    headers, body, secret, now = STANDARD
    with pytest.raises(ForerunError):
        verify(
            Scheme.STANDARD,
            Request({**headers, "webhook-timestamp": stamp}, body, now, 300.0),
            [secret],
        )


def test_several_signatures_of_which_one_is_good() -> None:
    headers, body, secret, now = STANDARD
    several = "v1a,zzz v1,AAAA " + headers["webhook-signature"] + " v1,BBBB"
    request = Request({**headers, "webhook-signature": several}, body, now, 300.0)
    assert verify(Scheme.STANDARD, request, [secret]).id == headers["webhook-id"]
    many = " ".join(["v1,AAAA"] * 16 + [headers["webhook-signature"]])
    with pytest.raises(AccessDenied):
        verify(
            Scheme.STANDARD,
            Request({**headers, "webhook-signature": many}, body, now, 300.0),
            [secret],
        )


def test_the_older_names_of_the_standard_are_known() -> None:
    headers, body, secret, now = STANDARD
    older = {name.replace("webhook-", "svix-"): value for name, value in headers.items()}
    assert verify(Scheme.STANDARD, Request(older, body, now, 300.0), [secret]).key


def test_github_is_known_again_by_what_is_signed() -> None:
    """The delivery's id is not signed: who replays could choose another one."""
    headers, body, secret, _ = GITHUB
    keys = {
        verify(
            Scheme.GITHUB,
            Request({**headers, "x-github-delivery": each}, body, 0.0, 300.0),
            [secret],
        ).key
        for each in ("one", "two")
    }
    assert len(keys) == 1


def test_stripe_tries_again_with_another_signature_and_the_same_event() -> None:
    keys = set()
    for stamp in (1000, 1100):
        body = b'{"id":"evt_1","type":"charge.succeeded"}'
        digest = hmac.new(b"a secret", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        request = Request({"stripe-signature": f"t={stamp},v1={digest}"}, body, float(stamp), 300.0)
        verified = verify(Scheme.STRIPE, request, ["a secret"])
        assert verified.type == "com.stripe.charge.succeeded"
        keys.add(verified.key)
    assert keys == {"evt_1"}


def slack(body: bytes, now: float = 1000.0) -> Request:
    digest = hmac.new(b"a secret", f"v0:{now:.0f}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"x-slack-request-timestamp": f"{now:.0f}", "x-slack-signature": f"v0={digest}"}
    return Request(headers, body, now, 300.0)


def test_slack_asks_whether_the_url_is_right() -> None:
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1a"}).encode()
    verified = verify(Scheme.SLACK, slack(body), ["a secret"])
    assert verified.reply == {"challenge": "3eZbrw1a"}
    with pytest.raises(AccessDenied):
        verify(Scheme.SLACK, slack(body), ["another secret"])
    event = json.dumps({"type": "event_callback", "event_id": "Ev1", "event": {"type": "message"}})
    verified = verify(Scheme.SLACK, slack(event.encode()), ["a secret"])
    assert (verified.reply, verified.key, verified.type) == (None, "Ev1", "com.slack.message")


def test_github_pings() -> None:
    headers, body, secret, _ = GITHUB
    request = Request({**headers, "x-github-event": "ping"}, body, 0.0, 300.0)
    assert verify(Scheme.GITHUB, request, [secret]).reply == {"message": "pong"}


@given(
    st.sampled_from(SIGNED),
    st.dictionaries(
        st.sampled_from(
            [name for headers, *_ in EXAMPLES.values() for name in headers]
            + ["webhook-id", "x-github-event"]
        ),
        st.text(max_size=40),
    ),
    st.binary(max_size=60),
)
def test_nothing_that_strangers_make_up_is_good_or_breaks_anything(
    scheme: Scheme, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises((AccessDenied, InvalidInput)):
        verify(scheme, Request(headers, body, 1000.0, 300.0), [EXAMPLES[scheme][2]])
