"""The door, over real TLS: who is let in for what, and what is said to those who are not."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agents import address_of, authority, eventually, identity, listener

from forerun.aio import Bounds, HttpServer
from forerun.cluster import Authority, Door, Guest, Knocked, Knocker, Peer, serve_http
from forerun.cluster.greeting import Refused
from forerun.cluster.strangers import OF_ADDRESS, Strangers
from forerun.errors import HostUnreachable


@pytest.fixture(scope="module")
def trust() -> Authority:
    return authority()


@asynccontextmanager
async def opened(trust: Authority, **bounds: int) -> AsyncIterator[tuple[Door, str]]:
    door = Door(identity(trust, "control-1", "control"), **bounds)

    async def tree(guest: Guest) -> None:
        reader, writer = guest.streams()
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def enrol(guest: Guest) -> None:
        guest.welcome({"you": [guest.name, guest.role], "brought": guest.fields})

    async def calls(guest: Guest) -> None:
        guest.refuse("busy", "not now")

    door.serve("tree", tree, roles=("host", "control"))
    door.serve("enrol", enrol, roles=("",))
    door.serve("calls", calls, roles=("control",))
    sock = listener()
    await door.listen(sock)
    try:
        yield door, address_of(sock)
    finally:
        await door.close()
        sock.close()


async def test_streams_with_who_is_known(trust) -> None:
    async with opened(trust) as (_, address):
        knocker = Knocker(identity(trust, "host-1", "host"))
        knocked = await knocker.knock(address, "tree", expect=Peer("control-1", "control"))
        reader, writer = knocked.streams()
        writer.write(b"as it came\n")
        assert await reader.readline() == b"as it came\n"
        writer.close()


async def test_who_has_no_certificate_may_only_enrol(trust) -> None:
    async with opened(trust) as (_, address):
        knocker = Knocker(None, authority_pem=trust.pem)
        enrolled = await knocker.knock(address, "enrol", {"token": "t"})
        assert enrolled.fields == {"you": ["", ""], "brought": {"token": "t"}}
        enrolled.transport.abort()
        with pytest.raises(Refused, match="no certificate") as refused:
            await knocker.knock(address, "tree")
        assert refused.value.code == "role"


@pytest.mark.parametrize(
    ("role", "kind", "code"),
    [("host", "calls", "role"), ("control", "calls", "busy"), ("host", "nothing", "kind")],
    ids=["role", "by-the-handler", "kind"],
)
async def test_refusals_say_why(trust, role, kind, code) -> None:
    async with opened(trust) as (_, address):
        with pytest.raises(Refused) as refused:
            await Knocker(identity(trust, "one", role)).knock(address, kind)
        assert refused.value.code == code


async def test_strangers_are_not_believed(trust) -> None:
    foreign = authority()
    async with opened(trust) as (_, address):
        with pytest.raises(HostUnreachable, match="does not answer"):
            await Knocker(identity(foreign, "host-1", "host")).knock(address, "tree")
        # It believes the door, and the door does not believe it.
        mixed = msgspec.structs.replace(
            identity(foreign, "host-1", "host"), authority_pem=trust.pem
        )
        with pytest.raises(HostUnreachable):
            await Knocker(mixed).knock(address, "tree")
        with pytest.raises(HostUnreachable, match="not control 'control-2'"):
            await Knocker(identity(trust, "host-1", "host")).knock(
                address, "tree", expect=Peer("control-2", "control")
            )


async def entered(knocker: Knocker, address: str, kind: str) -> Knocked:
    """Let in as soon as there is room."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await knocker.knock(address, kind)
            except Refused as refused:
                if refused.code != "busy":
                    raise
                await asyncio.sleep(0.01)


async def raw(address: str, sent: bytes) -> bytes:
    """What a door answers to bytes of somebody without a certificate, until it closes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(sent)
    async with asyncio.timeout(5):
        got = await reader.read()
    writer.close()
    return got


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def hello(**fields: object) -> bytes:
    return framed(msgspec.msgpack.encode(fields))


NO_TEXT = b"\x82\xa4kind\xa1\xff\xa9protocols\x92\x01\x01"
DEEP = b"\x83\xa4kind\xa5enrol\xa9protocols\x92\x01\x01\xa6fields\x81\xa1a" + b"\x91" * 60_000


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
        (b"\0\0\0\4abcd", "malformed"),
        (hello(kind="enrol"), "malformed"),
        (framed(DEEP), "malformed"),
        (framed(NO_TEXT), "malformed"),
        (hello(kind=1, protocols=[1, 1]), "malformed"),
        (hello(kind="enrol", protocols=[7, 9]), "version"),
        (hello(kind="enrol", protocols=[9, 1]), "version"),
    ],
    ids=["http", "noise", "incomplete", "deep", "no-text", "types", "newer", "backwards"],
)
async def test_what_is_no_greeting_is_refused(trust, sent, code) -> None:
    async with opened(trust) as (_, address):
        answer = msgspec.msgpack.decode((await raw(address, sent))[4:])
        assert answer["refused"] == code
        assert answer["message"]


async def test_a_newer_minor_with_more_to_say_is_understood(trust) -> None:
    async with opened(trust) as (_, address):
        greeting = hello(kind="enrol", protocols=[1, 4], fields={"a": 1}, more={"new": [1]})
        answer = msgspec.msgpack.decode((await raw(address, greeting))[4:])
        assert (answer["refused"], answer["protocol"]) == ("", 1)


async def test_connections_are_bounded_and_counted_when_they_end(trust) -> None:
    async with opened(trust, connections=2) as (_, address):
        knocker, *others = [Knocker(identity(trust, f"host-{n}", "host")) for n in (1, 2, 3)]
        held = [(await knocker.knock(address, "tree")).streams()]
        for refused_one in (knocker, others[0], others[1]):
            if refused_one is others[0]:
                # Nobody may have more than half of them; another gets the other half.
                held.append((await refused_one.knock(address, "tree")).streams())
                continue
            with pytest.raises(Refused) as refused:
                await refused_one.knock(address, "tree")
            assert refused.value.code == "busy"
        for reader, writer in held:
            writer.write(b"\n")
            await reader.read()
            writer.close()
        (await entered(knocker, address, "tree")).transport.abort()


async def test_http_is_served_on_connections_that_are_handed_over(trust) -> None:
    async def app(scope, receive, send) -> None:
        body = scope["path"].encode() * 3
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async with opened(trust, connections=3) as (door, address):
        server = HttpServer(app, bounds=Bounds())
        door.serve("http", serve_http(server, lambda _: app), roles=("host",))
        knocker = Knocker(identity(trust, "host-1", "host"))
        # More than there is room for at once: those that are over are not counted.
        for _ in range(8):
            reader, writer = (await entered(knocker, address, "http")).streams()
            writer.write(b"GET /path HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"/path/path/path")
            writer.close()
        await server.close(grace_s=0)


async def test_nobody_is_there(trust) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    with pytest.raises(HostUnreachable):
        await Knocker(identity(trust, "host-1", "host")).knock(address_of(sock), "tree")
    sock.close()


async def test_who_is_not_let_in_any_more_is_refused_and_its_connections_end(trust) -> None:
    expelled: set[str] = set()
    door, sock = (
        Door(
            identity(trust, "control-1", "control"), admits=lambda peer: peer.name not in expelled
        ),
        listener(),
    )

    async def hold(guest: Guest) -> None:
        reader, _ = guest.streams()
        await reader.read()

    door.serve("tree", hold, roles=("host",))
    await door.listen(sock)
    address = address_of(sock)
    good, bad = (Knocker(identity(trust, name, "host")) for name in ("good", "bad"))
    (kept, writing), (ended, leaving) = [
        (await each.knock(address, "tree")).streams() for each in (good, bad)
    ]
    expelled.add("bad")
    door.expel()
    async with asyncio.timeout(5):
        with pytest.raises((OSError, EOFError)):
            await ended.readexactly(1)
    with pytest.raises(Refused) as refused:
        await bad.knock(address, "tree")
    assert refused.value.code == "expelled"
    assert not kept.at_eof()
    for writer in (writing, leaving):
        writer.transport.abort()
    await door.close()
    sock.close()


async def test_strangers_from_one_address_leave_room_for_others_and_those_who_are_known(
    trust,
) -> None:
    async with opened(trust) as (door, address):
        host, port = address.split(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(OF_ADDRESS)]
        await eventually(lambda: not door.strangers.enter("127.0.0.1"))
        # Another one costs no handshake.
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        assert door.strangers.enter("127.0.0.2")
        for _, each in (*silent, (reader, writer)):
            each.close()
        knocker = Knocker(identity(trust, "host-1", "host"))

        async def let_in() -> bool:
            try:
                (await knocker.knock(address, "tree")).transport.abort()
            except HostUnreachable:
                return False
            return True

        async with asyncio.timeout(10):
            while not await let_in():
                await asyncio.sleep(0.05)


@given(st.lists(st.sampled_from(["a", "b", "c", "-a", "-b", "-c"]), max_size=60))
def test_strangers_are_counted_by_address_and_together(steps) -> None:
    strangers, inside = Strangers(4, 2), Counter()
    for step in steps:
        who = step[-1]
        if step.startswith("-"):
            if inside[who]:
                strangers.leave(who)
                inside[who] -= 1
        else:
            allowed = inside[who] < 2 and inside.total() < 4
            assert strangers.enter(who) == allowed
            inside[who] += allowed
