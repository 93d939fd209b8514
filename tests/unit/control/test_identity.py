import json
import time

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock

from forerun.control.authorization import Authorizer
from forerun.control.directory import Directory
from forerun.control.identity import DEFAULT_ACCOUNT, Identities, QuotaExceeded, session_name
from forerun.control.policies import MalformedPolicy
from forerun.control.principals import Principals
from forerun.control.sessions import ExpiredCredentials, SessionTokens
from forerun.errors import AccessDenied, AlreadyExists, InUse, InvalidInput, NotFound
from forerun.storage.identity import IdentityStore
from forerun.storage.sealing import Sealer

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    }
)


def allow(action="*", resource="*"):
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Process:
    """What one server process has of the identities; several may share a database."""

    def __init__(self, db, clock, key=bytes(32), **options):
        sealer = Sealer(key)
        self.directory = Directory(IdentityStore(db, sealer), **options)
        self.identities = Identities(self.directory, SessionTokens(sealer, clock), clock)
        self.principals = Principals(self.directory, clock)
        self.authorizer = Authorizer(self.directory, clock)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def db(tmp_path):
    db = await open_database(tmp_path / "state.db")
    yield db
    await db.close()


@pytest.fixture
async def process(db, clock):
    process = Process(db, clock)
    await process.identities.start()
    return process


async def test_the_first_start_makes_an_account_and_later_ones_find_it(db, clock):
    first = await Process(db, clock).identities.start()
    assert first.account == DEFAULT_ACCOUNT
    assert first.id.startswith("AKIA")
    assert (len(first.id), len(first.secret)) == (20, 40)
    assert await Process(db, clock).identities.start() == first
    assert first.secret not in repr(first)


async def test_secrets_are_sealed_in_the_file(db, clock, tmp_path, process):
    (key,) = process.identities.keys(DEFAULT_ACCOUNT)
    await db.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key.id.encode() in stored
    assert key.secret.encode() not in stored


@pytest.mark.databases
async def test_a_key_works_until_it_is_disabled_or_deleted(process):
    identities = process.identities
    key = await identities.create_key(DEFAULT_ACCOUNT)
    found = identities.lookup(key.id)
    assert (found.secret, found.principal_arn) == (
        key.secret,
        f"arn:aws:iam::{DEFAULT_ACCOUNT}:root",
    )
    await identities.activate_key(DEFAULT_ACCOUNT, key.id, active=False)
    assert identities.lookup(key.id) is None
    await identities.activate_key(DEFAULT_ACCOUNT, key.id, active=True)
    assert identities.lookup(key.id) == found
    await identities.delete_key(DEFAULT_ACCOUNT, key.id)
    assert identities.lookup(key.id) is None
    assert identities.lookup("AKIANOBODY") is None
    with pytest.raises(NotFound):
        await identities.delete_key(DEFAULT_ACCOUNT, key.id)


async def test_accounts_do_not_touch_each_other(process):
    account, key = await process.identities.create_account("other", account_id="2" * 12)
    assert process.identities.lookup(key.id).account == account.id
    with pytest.raises(NotFound):
        await process.identities.delete_key(DEFAULT_ACCOUNT, key.id)
    with pytest.raises(AlreadyExists, match="2222"):
        await process.identities.create_account("again", account_id="2" * 12)
    with pytest.raises(InvalidInput, match="12 digits"):
        await process.identities.create_account("x", account_id="12")
    with pytest.raises(NotFound):
        await process.identities.create_key("3" * 12)


@pytest.mark.databases
async def test_what_another_process_did_is_seen_after_refresh(db, clock, process):
    other = Process(db, clock)
    await other.identities.start()
    key = await other.identities.create_key(DEFAULT_ACCOUNT)
    assert process.identities.lookup(key.id) is None
    assert await process.identities.refresh()
    assert process.identities.lookup(key.id) is not None
    assert not await process.identities.refresh()
    # Both change a role that each knows in its first revision.
    await process.principals.create(DEFAULT_ACCOUNT, "role", "r", document=TRUST)
    await other.identities.refresh()
    await process.principals.put_inline(DEFAULT_ACCOUNT, "role", "r", "a", allow())
    await other.principals.put_inline(DEFAULT_ACCOUNT, "role", "r", "b", allow())
    assert set(other.principals.get(DEFAULT_ACCOUNT, "role", "r").inline) == {"a", "b"}


@pytest.mark.databases
async def test_users_keys_are_limited_and_hold_the_user(process):
    identities, principals = process.identities, process.principals
    await principals.create(DEFAULT_ACCOUNT, "user", "ann", path="/staff/")
    keys = [await identities.create_key(DEFAULT_ACCOUNT, "ann") for _ in range(2)]
    with pytest.raises(QuotaExceeded):
        await identities.create_key(DEFAULT_ACCOUNT, "ann")
    arn = f"arn:aws:iam::{DEFAULT_ACCOUNT}:user/staff/ann"
    assert identities.lookup(keys[0].id).principal_arn == arn
    assert identities.user_id(arn).startswith("AIDA")
    with pytest.raises(InUse, match="access keys"):
        await principals.delete(DEFAULT_ACCOUNT, "user", "ann")
    for key in keys:
        await identities.delete_key(DEFAULT_ACCOUNT, key.id, user="ann")
    await principals.delete(DEFAULT_ACCOUNT, "user", "ann")
    with pytest.raises(NotFound):
        identities.keys(DEFAULT_ACCOUNT, "ann")


class Caller:
    source_ip = user_agent = ""

    def __init__(self, arn):
        self.principal_arn = arn
        self.account = arn.split(":")[4]


async def test_rights_follow_policies_at_once(process):
    principals, authorizer = process.principals, process.authorizer
    await principals.create(DEFAULT_ACCOUNT, "user", "ann", tags={"team": "a"})
    ann = Caller(f"arn:aws:iam::{DEFAULT_ACCOUNT}:user/ann")

    def may(action):
        return authorizer.decide(ann, action, "*").allowed

    assert not may("lambda:ListFunctions")
    await principals.put_inline(DEFAULT_ACCOUNT, "user", "ann", "p", allow("lambda:*"))
    assert may("lambda:ListFunctions")
    assert not may("iam:ListRoles")
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    await principals.attach(DEFAULT_ACCOUNT, "user", "ann", admin)
    assert may("iam:ListRoles")
    assert process.directory.rights(ann.principal_arn).unrestricted
    await principals.detach(DEFAULT_ACCOUNT, "user", "ann", admin)
    await principals.delete_inline(DEFAULT_ACCOUNT, "user", "ann", "p")
    assert not may("lambda:ListFunctions")
    own = await principals.create(DEFAULT_ACCOUNT, "policy", "mine", document=allow("s3:*"))
    await principals.attach(DEFAULT_ACCOUNT, "user", "ann", own.arn)
    assert may("s3:GetObject")
    with pytest.raises(InUse, match="attached"):
        await principals.delete(DEFAULT_ACCOUNT, "policy", "mine")


@pytest.mark.parametrize("unknown_role", ["allow", "deny"])
async def test_roles_that_nobody_created_here(db, clock, unknown_role):
    process = Process(db, clock, unknown_role=unknown_role)
    await process.identities.start()
    session = process.identities.issue_for_function(
        DEFAULT_ACCOUNT, f"arn:aws:iam::{DEFAULT_ACCOUNT}:role/from-aws", "f", duration_s=60
    )
    credentials = session.credentials
    found = process.identities.lookup(credentials.access_key_id, credentials.session_token)
    caller = Caller(found.principal_arn)
    assert caller.principal_arn.endswith(":assumed-role/from-aws/f")

    def may(action, resource="*"):
        return process.authorizer.decide(caller, action, resource).allowed

    assert may("lambda:InvokeFunction") is (unknown_role == "allow")
    for forbidden in ("iam:CreateAccessKey", "sts:AssumeRole", "forerun:GetStatus"):
        assert not may(forbidden)
    assert not may("lambda:InvokeFunction", f"arn:aws:lambda:us-home-1:{'2' * 12}:function:f")
    await process.principals.create(DEFAULT_ACCOUNT, "role", "from-aws", document=TRUST)
    assert process.identities.lookup(credentials.access_key_id, credentials.session_token) == found
    assert not may("lambda:InvokeFunction")


async def test_sessions_end_by_time_and_with_their_role(process, clock):
    identities = process.identities
    await process.principals.create(DEFAULT_ACCOUNT, "role", "r", document=TRUST)
    role = f"arn:aws:iam::{DEFAULT_ACCOUNT}:role/r"
    issued = identities.issue_for_function(DEFAULT_ACCOUNT, role, "f", duration_s=60)
    key, token = issued.credentials.access_key_id, issued.credentials.session_token
    assert key.startswith("ASIA")
    assert len(issued.credentials.secret_access_key) == 40
    found = identities.lookup(key, token)
    assert found.secret == issued.credentials.secret_access_key
    assert found.expires_at == issued.expires_at == int(clock.now()) + 60
    assert identities.lookup(key) is None
    assert identities.lookup("ASIA" + "A" * 16, token) is None
    await process.principals.delete(DEFAULT_ACCOUNT, "role", "r")
    assert identities.lookup(key, token) is None
    await process.principals.create(DEFAULT_ACCOUNT, "role", "r", document=TRUST)
    assert identities.lookup(key, token) is None
    again = identities.issue_for_function(DEFAULT_ACCOUNT, role, "f", duration_s=60).credentials
    await clock.advance(60)
    with pytest.raises(ExpiredCredentials, match="expired"):
        identities.lookup(again.access_key_id, again.session_token)


async def test_forged_tokens_and_those_of_another_server_are_refused(db, clock, process):
    stranger = Process(db, clock, key=b"x" * 32)
    root = f"arn:aws:iam::{DEFAULT_ACCOUNT}:root"
    foreign = stranger.identities.issue_session(root, duration_s=60).credentials
    assert process.identities.lookup(foreign.access_key_id, foreign.session_token) is None
    own = process.identities.issue_session(root, duration_s=60).credentials
    token = own.session_token
    for bad in ("x", token[:-4], token[:40] + ("A" if token[40] != "A" else "B") + token[41:], "é"):
        assert process.identities.lookup(own.access_key_id, bad) is None
    assert process.identities.lookup(own.access_key_id, "A" * 100_000) is None


async def test_a_function_cannot_take_a_role_of_another_account(process):
    with pytest.raises(AccessDenied, match="Cross-account"):
        process.identities.issue_for_function(
            DEFAULT_ACCOUNT, f"arn:aws:iam::{'2' * 12}:role/r", "f", duration_s=60
        )


async def test_issuing_is_quick(process):
    role = f"arn:aws:iam::{DEFAULT_ACCOUNT}:role/r"
    laps = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(500):
            process.identities.issue_for_function(DEFAULT_ACCOUNT, role, "f", duration_s=60)
        laps.append((time.perf_counter() - started) / 500)
    assert min(laps) < 200e-6  # the target is 50 us; the margin is for machines under load
    print(f"session: {min(laps) * 1e6:.1f} us")


@pytest.mark.parametrize("text", ["f", "", "a b/c", "x" * 200, "é"])
def test_session_names_fit_the_grammar(text):
    name = session_name(text)
    assert 1 <= len(name) <= 64
    assert name.isascii()
    assert not set(name) & set(" /:")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": "has space"}, InvalidInput),
        ({"name": "x" * 65}, InvalidInput),
        ({"name": ""}, InvalidInput),
        ({"path": "no-slashes"}, InvalidInput),
        ({"document": "{"}, MalformedPolicy),
        ({"document": allow()}, MalformedPolicy),
        ({"description": "x" * 1001}, InvalidInput),
        ({"max_session_s": 3599}, InvalidInput),
        ({"max_session_s": 43201}, InvalidInput),
        ({"tags": {"aws:x": "1"}}, InvalidInput),
        ({"tags": {f"k{index}": "" for index in range(51)}}, QuotaExceeded),
    ],
)
async def test_bad_roles_are_refused(process, options, error):
    values = {"name": "r", "document": TRUST} | options
    name = values.pop("name")
    with pytest.raises(error):
        await process.principals.create(DEFAULT_ACCOUNT, "role", name, **values)
    assert process.principals.list(DEFAULT_ACCOUNT, "role") == []


async def test_quotas_of_policies(process):
    principals = process.principals
    await principals.create(DEFAULT_ACCOUNT, "role", "r", document=TRUST, max_session_s=43200)
    with pytest.raises(AlreadyExists, match="Role with name r already exists"):
        await principals.create(DEFAULT_ACCOUNT, "role", "r", document=TRUST)
    big = allow([f"lambda:Action{index}" for index in range(1_000)])
    with pytest.raises(QuotaExceeded, match="10240"):
        await principals.put_inline(DEFAULT_ACCOUNT, "role", "r", "big", big)
    with pytest.raises(NotFound, match="attachable"):
        await principals.attach(DEFAULT_ACCOUNT, "role", "r", "arn:aws:iam::aws:policy/Unknown")
    with pytest.raises(NotFound):
        await principals.attach(
            DEFAULT_ACCOUNT, "role", "r", f"arn:aws:iam::{'2' * 12}:policy/theirs"
        )
    with pytest.raises(NotFound):
        await principals.detach(
            DEFAULT_ACCOUNT, "role", "r", "arn:aws:iam::aws:policy/PowerUserAccess"
        )
    with pytest.raises(NotFound, match="The role policy with name p"):
        await principals.delete_inline(DEFAULT_ACCOUNT, "role", "r", "p")
