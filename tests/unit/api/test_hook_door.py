"""The door for webhooks: how it is knocked at, and what it makes of whom it is told to believe."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import FakeOutbox

from forerun.api.hooks import PREFIX, HookDoor
from forerun.model import Origin
from forerun.sources.hooks import Hooks, HookSettings, Receiver
from forerun.storage import Sealer
from forerun.storage.hooks import HookStore, Scheme, TargetFormat
from forerun.storage.sqlite import MESSAGES

ACCOUNT = "123456789012"
PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class FakeMonitor:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[bytes, bytes], str, bool]] = []

    def recognise(
        self, headers: Mapping[bytes, bytes], _key: str | None, account: str, *, trusted: bool
    ) -> Origin:
        self.asked.append((dict(headers), account, trusted))
        return Origin(trace_id="1" * 32)


class Door:
    """A door with a hook behind it, knocked at as uvicorn does."""

    def __init__(self, hooks: Hooks, receiver: Receiver, clock: FakeClock) -> None:
        self.hooks = hooks
        self.monitor = FakeMonitor()
        self.door = HookDoor(receiver, self.monitor, clock, body_s=1.0)  # type: ignore[arg-type]

    async def knock(
        self, hook_id: str, body: bytes = b"{}", method: str = "POST", **headers: bytes
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[dict[str, Any]] = []
        given = {b"content-type": b"application/json"} | {
            name.replace("_", "-").encode(): value for name, value in headers.items()
        }
        scope = {
            "method": method,
            "raw_path": PREFIX + hook_id.encode(),
            "query_string": b"a=1",
            "headers": list(given.items()),
            "client": ("192.0.2.1", 1),
            "http_version": "1.1",
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.door(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.fixture
def outbox() -> FakeOutbox:
    return FakeOutbox()


@pytest.fixture
async def door(tmp_path: Path, outbox: FakeOutbox) -> AsyncIterator[Door]:
    db = await open_database(tmp_path / "messages.db", migrations=MESSAGES)
    store, clock = HookStore(db), FakeClock()
    hooks = Hooks(store, Sealer(b"k" * 32), clock, region="us-home-1")
    yield Door(hooks, Receiver(hooks, store, outbox, clock), clock)
    await db.close()


async def put(door: Door, **given: Any) -> str:
    settings = {"name": "h", "target": "f", "scheme": Scheme.NONE} | given
    return (await door.hooks.put(ACCOUNT, HookSettings(**settings))).hook.id


@pytest.mark.databases
async def test_the_origin_is_what_strangers_say_and_is_not_trusted(
    door: Door, outbox: FakeOutbox
) -> None:
    hook_id = await put(door)
    assert (await door.knock(hook_id, traceparent=PARENT))[0] == 202
    event = {"specversion": "1.0", "id": "1", "source": "/", "type": "t", "traceparent": "00-x"}
    body = json.dumps(event).encode()
    assert (await door.knock(hook_id, body, content_type=b"application/cloudevents+json"))[0] == 202
    (by_header, account, trusted), (by_event, *_) = door.monitor.asked
    assert by_header[b"traceparent"] == PARENT
    assert by_event[b"traceparent"] == b"00-x"
    assert (account, trusted) == (ACCOUNT, False)
    assert {each.origin.trace_id for each in outbox.sent} == {"1" * 32}


async def test_the_whole_request_for_those_who_want_it(door: Door, outbox: FakeOutbox) -> None:
    hook_id = await put(door, target_format=TargetFormat.HTTP)
    assert (await door.knock(hook_id, b"\xff", content_type=b"image/png", x_y=b"z"))[0] == 202
    event = json.loads(outbox.sent[0].payload)
    assert event["version"] == "2.0"
    assert event["headers"]["x-y"] == "z"
    assert event["isBase64Encoded"] is True
    assert event["queryStringParameters"] == {"a": "1"}
    assert event["requestContext"]["http"]["sourceIp"] == "192.0.2.1"
    assert hook_id not in outbox.sent[0].payload.decode()


async def test_doors_that_stay_shut(door: Door, outbox: FakeOutbox) -> None:
    hook_id = await put(door)
    for path in ("", "x", f"{hook_id}x", f"{hook_id}/", f"{hook_id}%20", "\u00e9" * 10):
        assert (await door.knock(path))[0] == 404, path
    status, headers, _ = await door.knock(hook_id, method="GET")
    assert (status, headers[b"allow"]) == (405, b"POST, OPTIONS")
    assert (await door.knock(hook_id, method="HEAD"))[2] == b""
    assert (await door.knock(hook_id, method="OPTIONS"))[0] == 400
    status, headers, _ = await door.knock(
        hook_id, method="OPTIONS", webhook_request_origin=b"example.com"
    )
    assert (status, headers[b"webhook-allowed-rate"]) == (200, b"6000")
    assert (await door.knock(hook_id, b"x" * (1024 * 1024 + 1)))[0] == 413
    assert outbox.sent == []
