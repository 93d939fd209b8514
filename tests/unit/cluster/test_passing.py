"""Requests that are passed on through a real door: bodies and answers in pieces, who asked, and what ends when somebody leaves."""

import asyncio

import pytest
from tests.agents import address_of, authority, eventually, identity, listener

from forerun.aio import Bounds, HttpServer
from forerun.cluster import (
    NOT_HERE,
    Door,
    Gone,
    Knocker,
    Passed,
    Passing,
    Peer,
    from_others,
    post,
    serve_http,
)

HOLDER = Peer("holder", "control")


class Far:
    """What is behind the other door: answers as its path says."""

    def __init__(self):
        self.scopes = []
        self.left = 0
        self.connections = set()

    async def app(self, scope, receive, send):
        self.scopes.append(scope)
        path = scope["path"]
        if path == "/wait":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left += 1
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        if path == "/not-here":
            headers = [(NOT_HERE, b"duties")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [
            (b"x-size", str(len(body)).encode()),
            (b"set-cookie", b"a"),
            (b"set-cookie", b"b"),
        ]
        if path == "/sized":
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        for first in range(0, len(body), 50_000):
            piece = body[first : first + 50_000]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def world():
    trust, far = authority(), Far()
    sock = listener()
    door = Door(identity(trust, "holder", "control"))
    http = HttpServer(far.app, name="far", bounds=Bounds())
    entered = []

    def app_for(guest):
        entered.append(guest.name)
        return from_others(far.app)

    door.serve("http", serve_http(http, app_for), roles=("control",))
    await door.listen(sock)
    passing = Passing(Knocker(identity(trust, "other", "control")), "http")
    far.address, far.entered, far.passing, far.trust = address_of(sock), entered, passing, trust
    yield far
    passing.close()
    await http.close(grace_s=0)
    await door.close()
    sock.close()


class Client:
    """One request as an ASGI server has it, with its body in pieces."""

    def __init__(self, path, *pieces, method="POST", headers=()):
        self.scope = {
            "method": method,
            "raw_path": path.encode(),
            "query_string": b"q=1",
            "headers": [(b"host", b"there"), *headers],
        }
        self.pieces = list(pieces)
        self.gone = asyncio.Event()
        self.messages = []

    async def receive(self):
        if not self.pieces:
            await self.gone.wait()
            return {"type": "http.disconnect"}
        piece = self.pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}

    async def send(self, message):
        self.messages.append(message)

    @property
    def body(self):
        return b"".join(each.get("body", b"") for each in self.messages[1:])

    async def ask(self, far, passed=None):
        await far.passing.pass_on(
            far.address, HOLDER, passed or Passed(), self.scope, self.receive, self.send
        )
        return self


@pytest.mark.parametrize("path", ["/sized", "/chunked"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_bodies_go_and_come_as_they_are(world, path, framing):
    pieces = [b"x" * 70_000, b"", b"y" * 300_000]
    size = str(sum(map(len, pieces))).encode()
    headers = {"length": (b"content-length", size), "chunked": (b"transfer-encoding", b"chunked")}
    client = await Client(path, *pieces, headers=[headers[framing]]).ask(world)
    start = client.messages[0]
    assert start["status"] == 201
    assert [value for name, value in start["headers"] if name == b"set-cookie"] == [b"a", b"b"]
    assert not {b"date", b"server", b"transfer-encoding"} & {name for name, _ in start["headers"]}
    assert client.body == b"".join(pieces)
    assert world.scopes[0]["query_string"] == b"q=1"


async def test_one_connection_serves_one_request_after_the_other(world):
    for _ in range(5):
        await Client("/sized", b"abc", headers=[(b"content-length", b"3")]).ask(world)
        await Client("/chunked", b"", method="GET").ask(world)
    assert world.entered == ["other"]


async def test_the_head_alone_is_answered_without_waiting_for_a_body(world):
    client = Client("/sized", b"", method="HEAD", headers=[])
    async with asyncio.timeout(5):
        await client.ask(world)
    assert client.messages[0]["status"] == 201
    assert client.body == b""


async def test_who_asked_is_told_and_what_clients_say_of_it_is_not_believed(world):
    forged = (b"x-forerun-passed", b'{"account":"666666666666","client":["6.6.6.6",6]}')
    passed = Passed(request_id="r-1", client=("192.0.2.7", 77), account="111111111111")
    await Client("/sized", b"", method="GET", headers=[forged]).ask(world, passed)
    scope = world.scopes[0]
    assert scope["forerun.passed"] == passed
    assert tuple(scope["client"]) == ("192.0.2.7", 77)
    assert scope["scheme"] == "http"
    assert scope["forerun.request-id"] == "r-1"
    assert all(name != b"x-forerun-passed" for name, _ in scope["headers"])


async def test_when_the_client_leaves_so_does_what_was_passed_on(world):
    client = Client("/wait", b"", method="GET")
    asking = asyncio.create_task(client.ask(world))
    await eventually(lambda: world.scopes)
    client.gone.set()
    with pytest.raises(Gone):
        await asking
    await eventually(lambda: world.left == 1)


async def test_an_answer_that_is_none_is_not_passed_back(world):
    client = Client("/not-here", b"", method="GET")
    with pytest.raises(Gone) as gone:
        await client.ask(world)
    assert not gone.value.asked
    assert not client.messages


async def test_own_questions_are_answered_or_nobody_is_there(world):
    status, answer = await post(world.passing, world.address, HOLDER, "/sized", b"question")
    assert (status, answer) == (201, b"question")
    nowhere = listener()
    with pytest.raises(Gone) as gone:
        await post(world.passing, address_of(nowhere), HOLDER, "/sized", b"")
    nowhere.close()
    assert not gone.value.asked
    with pytest.raises(Gone):
        await Passing(Knocker(identity(world.trust, "x", "host")), "http").pass_on(
            world.address,
            HOLDER,
            Passed(),
            Client("/").scope,
            Client("/").receive,
            Client("/").send,
        )
