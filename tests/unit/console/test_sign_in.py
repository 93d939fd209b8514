"""Links that work once, sessions that end with their key, and bounds on both."""

import pytest
from tests.fakes.clock import FakeClock

from forerun.console import SignIn, Visitor
from forerun.console.sign_in import BURST, LINK_S, MOST_LINKS, MOST_SESSIONS, PER_S, SESSION_S
from forerun.errors import AccessDenied, InvalidInput, Throttled

ROOT = "arn:aws:iam::111122223333:root"


def visitor(key: str = "AKIA1", arn: str = ROOT) -> Visitor:
    return Visitor(account="111122223333", region="us-home-1", principal_arn=arn, access_key_id=key)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys() -> dict[str, str]:
    return {"AKIA1": ROOT}


@pytest.fixture
def sign_in(clock: FakeClock, keys: dict[str, str]) -> SignIn:
    return SignIn(clock, keys.get)


def test_a_link_opens_one_session_in_the_name_of_its_key(sign_in: SignIn):
    code = sign_in.link(visitor())
    opened = sign_in.open(code)
    session = sign_in.session(opened.secret)
    assert session is not None
    assert session.visitor == visitor()
    with pytest.raises(AccessDenied, match="used already"):
        sign_in.open(code)


def test_a_link_ages(sign_in: SignIn, clock: FakeClock):
    code = sign_in.link(visitor())
    clock.jump(LINK_S)
    with pytest.raises(AccessDenied, match="older than a minute"):
        sign_in.open(code)


@pytest.mark.parametrize("code", ["", "x", "\x00", "ü" * 50])
def test_no_guess_opens_anything(sign_in: SignIn, code: str):
    sign_in.link(visitor())
    with pytest.raises(AccessDenied):
        sign_in.open(code)
    assert sign_in.session(code) is None


def test_temporary_credentials_get_no_link(sign_in: SignIn):
    with pytest.raises(InvalidInput, match="temporary"):
        sign_in.link(visitor("ASIA1"))


def test_a_session_ends_by_time(sign_in: SignIn, clock: FakeClock):
    opened = sign_in.open(sign_in.link(visitor()))
    assert opened.lasts_s == SESSION_S
    clock.jump(SESSION_S - 1)
    assert sign_in.session(opened.secret)
    clock.jump(1)
    assert sign_in.session(opened.secret) is None


def test_a_session_ends_with_its_key(sign_in: SignIn, keys: dict[str, str]):
    opened = sign_in.open(sign_in.link(visitor()))
    session = sign_in.session(opened.secret)
    assert session is not None
    del keys["AKIA1"]
    assert not sign_in.goes_on(session)
    assert sign_in.session(opened.secret) is None


def test_a_key_that_became_somebody_elses_opens_nothing(sign_in: SignIn, keys: dict[str, str]):
    opened = sign_in.open(sign_in.link(visitor()))
    keys["AKIA1"] = "arn:aws:iam::111122223333:user/other"
    assert sign_in.session(opened.secret) is None


def test_closing_ends_what_goes_on(sign_in: SignIn):
    opened = sign_in.open(sign_in.link(visitor()))
    session = sign_in.session(opened.secret)
    assert session is not None
    sign_in.close(opened.secret)
    sign_in.close("unknown")
    assert not sign_in.goes_on(session)
    assert sign_in.session(opened.secret) is None


def test_links_and_sessions_are_bounded_and_the_oldest_go(sign_in: SignIn):
    first = sign_in.link(visitor())
    kept = [sign_in.link(visitor()) for _ in range(MOST_LINKS)]
    with pytest.raises(AccessDenied):
        sign_in.open(first)
    early = sign_in.open(kept[0])
    for code in kept[1:]:
        late = sign_in.open(code)
    assert sign_in.session(early.secret)
    for _ in range(MOST_SESSIONS - len(kept) + 1):
        late = sign_in.open(sign_in.link(visitor()))
    assert sign_in.session(early.secret) is None
    assert sign_in.session(late.secret)


def test_a_session_asks_only_so_often(sign_in: SignIn, clock: FakeClock):
    opened = sign_in.open(sign_in.link(visitor()))
    session = sign_in.session(opened.secret)
    assert session is not None
    for _ in range(int(BURST)):
        session.spend(clock.now())
    with pytest.raises(Throttled):
        session.spend(clock.now())
    clock.jump(2 / PER_S)
    session.spend(clock.now())
