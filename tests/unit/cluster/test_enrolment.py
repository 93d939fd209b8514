"""How a machine joins, over a real door: with which tokens, under which names, and what is told to whom."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock

from forerun.cluster import (
    ENROL_ROLES,
    Door,
    Engine,
    Enroller,
    ask_engine,
    certificate_span,
    enrol,
    make_token,
    open_trust,
    parse_token,
    renew,
    take_sealing_key,
)
from forerun.cluster.enrolment import Failures, Wish
from forerun.cluster.greeting import Refused
from forerun.cluster.tls import NOBODY
from forerun.cluster.trust import make_authority, make_request
from forerun.errors import AccessDenied, HostUnreachable, InvalidInput, SetupFailed
from forerun.storage.trust import TrustStore

NOW = time.time()


class FakeRegister:
    def __init__(self) -> None:
        self.names = {"taken"}
        self.address = "10.0.0.1:9702"

    async def engine(self) -> Engine:
        return Engine(kind="ray", address=self.address, secret="s" * 64)

    async def doors(self) -> list[str]:
        return ["10.0.0.1:9701", "10.0.0.2:9701"]

    async def taken(self, name: str, role: str) -> bool:
        return name in self.names


class Cluster:
    """One control plane's door, and what is behind it."""

    address: str
    register: FakeRegister
    clock: FakeClock
    authority: Any
    store: TrustStore
    enroller: Enroller
    sealing_key: bytes

    async def token(self, role: str = "host", *, ttl_s: float = 3600.0, uses: int = 1) -> str:
        token, kept = make_token(
            self.authority.hash, role, ttl_s=ttl_s, uses=uses, now=self.clock.now()
        )
        await self.store.add_token(kept)
        return str(token)


@asynccontextmanager
async def opened(directory):
    cluster = Cluster()
    db = await open_database(directory / "forerun.db")
    cluster.clock, cluster.register = FakeClock(NOW), FakeRegister()
    cluster.store = TrustStore(db)
    cluster.authority, _, cluster.sealing_key = await open_trust(
        cluster.store, directory / "sealing.key", cluster.clock
    )
    cluster.enroller = Enroller(
        cluster.authority,
        cluster.store,
        cluster.clock,
        sealing_key=cluster.sealing_key,
        register=cluster.register,
    )
    door = Door(cluster.authority.issue("plane", "control", now=NOW))
    door.serve("enrol", cluster.enroller.handle, roles=ENROL_ROLES)
    sock = socket.create_server(("127.0.0.1", 0))
    cluster.address = f"127.0.0.1:{sock.getsockname()[1]}"
    await door.listen(sock)
    try:
        yield cluster
    finally:
        await door.close()
        await db.close()


@pytest.fixture
async def cluster(tmp_path):
    async with opened(tmp_path) as cluster:
        yield cluster


@pytest.mark.databases
async def test_a_host_joins_renews_and_asks(cluster):
    joined = await enrol(
        cluster.address,
        await cluster.token(),
        name="h-1",
        addresses=["10.0.0.9"],
        version="1.2",
    )
    assert joined.engine == Engine(kind="ray", address="10.0.0.1:9702", secret="s" * 64)
    assert joined.doors == ["10.0.0.1:9701", "10.0.0.2:9701"]
    assert joined.sealing_key == b""
    cluster.register.address = "10.0.0.2:9702"
    engine, _ = await ask_engine(cluster.address, joined.identity)
    assert engine.address == "10.0.0.2:9702"
    # Less than the slack that clocks have: TLS goes by the machine's own.
    cluster.clock.jump(1800)
    again = (await renew(cluster.address, joined.identity, ["10.0.0.9"])).identity
    assert (again.name, again.role) == ("h-1", "host")
    assert again.key_pem != joined.identity.key_pem
    assert (
        certificate_span(again.certificate_pem).ends
        - certificate_span(joined.identity.certificate_pem).ends
        >= 1799
    )
    await ask_engine(cluster.address, again)


async def test_a_control_plane_gets_the_sealing_key_and_a_host_does_not(cluster):
    with pytest.raises(Refused, match="for the role host"):
        await enrol(cluster.address, await cluster.token("host"), name="p-2", role="control")
    joined = await enrol(
        cluster.address, await cluster.token("control"), name="p-2", role="control"
    )
    assert joined.sealing_key == cluster.sealing_key
    assert joined.identity.role == "control"


async def test_a_token_is_good_for_its_uses_and_its_time(cluster):
    token = await cluster.token(uses=2)
    await enrol(cluster.address, token, name="a")
    await enrol(cluster.address, token, name="b")
    with pytest.raises(Refused, match=r"used as often as it may.*forerun token create"):
        await enrol(cluster.address, token, name="c")
    token = await cluster.token(ttl_s=60)
    cluster.clock.jump(60)
    with pytest.raises(Refused, match="has expired"):
        await enrol(cluster.address, token, name="d")


async def test_of_many_at_once_as_many_join_as_the_token_has_uses(cluster):
    token = await cluster.token(uses=3)
    results = await asyncio.gather(
        *(enrol(cluster.address, token, name=f"h-{index}") for index in range(8)),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 3


async def test_a_revoked_token_lets_nobody_in(cluster):
    token = await cluster.token()
    [kept] = await cluster.store.tokens()
    await cluster.store.revoke_token(kept.id)
    with pytest.raises(Refused, match="unknown or was revoked"):
        await enrol(cluster.address, token, name="a")


async def test_a_forged_secret_is_refused_and_soon_not_even_looked_at(cluster):
    good = await cluster.token()
    forged = str(parse_token(good)._replace(secret="A" * 32))
    for _ in range(10):
        with pytest.raises(Refused, match="unknown or was revoked"):
            await enrol(cluster.address, forged, name="a")
    with pytest.raises(Refused, match="Too many attempts"):
        await enrol(cluster.address, good, name="a")
    cluster.clock.jump(60)
    await enrol(cluster.address, good, name="a")


async def test_a_name_that_is_taken_costs_no_use(cluster):
    token = await cluster.token()
    with pytest.raises(Refused, match=r"There is a host taken already.*--name"):
        await enrol(cluster.address, token, name="taken")
    await enrol(cluster.address, token, name="free")


async def test_nothing_is_told_to_another_cluster(cluster, tmp_path):
    """Whoever stands at the address, it gets no secret unless it is the token's cluster."""
    asked = []
    answer = cluster.enroller.answer

    async def spy(fields, peer, who):
        asked.append(fields)
        return await answer(fields, peer, who)

    cluster.enroller.answer = spy
    token = parse_token(await cluster.token())
    foreign = token._replace(authority=make_authority(now=NOW).hash)
    with pytest.raises(AccessDenied, match="another cluster"):
        await enrol(cluster.address, str(foreign), name="a")
    assert asked == [{"ask": "authority"}]


async def test_a_door_that_shows_the_authority_without_being_its_own_gets_nothing(cluster):
    """The authority's certificate is public: to hand it out proves nothing."""
    asked = []

    async def handle(guest):
        asked.append(guest.fields)
        guest.welcome({"authority": cluster.authority.pem})

    liar = Door(make_authority(now=NOW).issue("plane", "control", now=NOW))
    liar.serve("enrol", handle, roles=ENROL_ROLES)
    sock = socket.create_server(("127.0.0.1", 0))
    await liar.listen(sock)
    try:
        with pytest.raises(HostUnreachable, match="certificate verify failed"):
            await enrol(f"127.0.0.1:{sock.getsockname()[1]}", await cluster.token(), name="a")
    finally:
        await liar.close()
    assert asked == [{"ask": "authority"}]


async def test_a_host_is_not_taken_for_a_control_plane(cluster):
    """A joined host could stand at the address; its certificate says what it is."""
    host = Door(cluster.authority.issue("h", "host", now=NOW))

    async def handle(guest):
        assert "secret" not in guest.fields
        guest.welcome({"authority": cluster.authority.pem})

    host.serve("enrol", handle, roles=ENROL_ROLES)
    sock = socket.create_server(("127.0.0.1", 0))
    await host.listen(sock)
    try:
        with pytest.raises(HostUnreachable, match="not control"):
            await enrol(f"127.0.0.1:{sock.getsockname()[1]}", await cluster.token(), name="a")
    finally:
        await host.close()


BAD_WISHES = {
    "nothing": ({}, InvalidInput, "cannot be read"),
    "unknown": ({"ask": "all"}, AccessDenied, "needs a certificate"),
    "renew without certificate": ({"ask": "renew"}, AccessDenied, "needs a certificate"),
    "engine without certificate": ({"ask": "engine"}, AccessDenied, "needs a certificate"),
    "types": ({"ask": "join", "name": 5}, InvalidInput, "cannot be read"),
    "role": ({"ask": "join", "name": "a", "role": "root"}, InvalidInput, "role must be"),
    "name": ({"ask": "join", "name": "../a"}, InvalidInput, "name must be"),
    "long name": ({"ask": "join", "name": "a" * 64}, InvalidInput, "name must be"),
    "no secret": ({"ask": "join", "name": "a"}, AccessDenied, "unknown or was revoked"),
}


@pytest.mark.parametrize("name", BAD_WISHES)
async def test_bad_wishes_are_refused(cluster, name):
    fields, error, said = BAD_WISHES[name]
    with pytest.raises(error, match=said):
        await cluster.enroller.answer(fields, NOBODY, "1.2.3.4")


async def test_a_request_that_is_none_costs_no_use(cluster):
    token = await cluster.token()
    wish = Wish(ask="join", name="a", secret=parse_token(token).secret, request="none")
    import msgspec

    with pytest.raises(InvalidInput, match="request"):
        await cluster.enroller.answer(msgspec.to_builtins(wish), NOBODY, "1.2.3.4")
    _, wish.request = make_request("a")
    assert await cluster.enroller.answer(msgspec.to_builtins(wish), NOBODY, "1.2.3.4")


@pytest.mark.databases
async def test_of_two_first_machines_one_makes_the_authority(tmp_path):
    db = await open_database(tmp_path / "forerun.db")
    store, clock = TrustStore(db), FakeClock(NOW)
    results = await asyncio.gather(
        *(open_trust(store, tmp_path / f"{index}.key", clock) for index in range(2)),
        return_exceptions=True,
    )
    [refused] = [result for result in results if isinstance(result, SetupFailed)]
    [(authority, _, key)] = [result for result in results if isinstance(result, tuple)]
    assert "forerun token create --role control" in refused.message
    assert await store.authority() == authority.pem
    with pytest.raises(SetupFailed, match="belongs to a cluster already"):
        await open_trust(store, tmp_path / "third.key", clock)
    take_sealing_key(tmp_path / "third.key", key)
    again, _, _ = await open_trust(store, tmp_path / "third.key", clock)
    assert again.pem == authority.pem
    take_sealing_key(tmp_path / "third.key", key)
    with pytest.raises(SetupFailed, match="another key"):
        take_sealing_key(tmp_path / "third.key", bytes(32))
    await db.close()


@pytest.mark.parametrize(
    "text", ["", "fr1", "fr2." + "a" * 32 + "." + "0" * 32, "fr1." + "a" * 31 + "." + "0" * 32]
)
def test_what_is_no_token_is_said_without_showing_it(text):
    with pytest.raises(InvalidInput, match="forerun token create") as refused:
        parse_token(text)
    assert "aaa" not in refused.value.message


@pytest.mark.parametrize(
    ("role", "ttl_s", "uses"),
    [("root", 60, 1), ("host", 1, 1), ("host", 1e9, 1), ("host", float("nan"), 1), ("host", 60, 0)],
)
def test_tokens_are_bounded(role, ttl_s, uses):
    with pytest.raises(InvalidInput):
        make_token("0" * 32, role, ttl_s=ttl_s, uses=uses, now=NOW)


def test_failures_are_counted_for_a_minute_and_for_so_many():
    failures = Failures(limit=3, per_s=60)
    for moment in (0.0, 1.0, 2.0):
        assert not failures.too_many("a", moment)
        failures.count("a", moment)
    assert failures.too_many("a", 59.0)
    assert not failures.too_many("b", 59.0)
    assert not failures.too_many("a", 60.0)
    for index in range(10_000):
        failures.count(str(index), 61.0)
    assert not failures.too_many("a", 61.0)
