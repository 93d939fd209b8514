"""Webhooks on a real database, an outbox that is looked into and a clock that stands still."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import FakeOutbox

from forerun.errors import (
    AccessDenied,
    Conflict,
    InvalidInput,
    NotFound,
    StorageFailed,
    Throttled,
    Unsupported,
)
from forerun.model import Origin
from forerun.sources.hooks import STRUCTURED, Arrival, Hooks, HookSettings, Receipt, Receiver
from forerun.sources.hooks.rates import Bucket
from forerun.storage import Sealer
from forerun.storage.hooks import HookStore, Scheme, TargetFormat
from forerun.storage.sqlite import MESSAGES

ACCOUNT = "123456789012"
QUEUE = f"arn:aws:sqs:us-home-1:{ACCOUNT}:work"
JSON = {"content-type": "application/json"}


class Rig:
    """Hooks over one database; ``restart`` forgets what is in memory alone."""

    def __init__(self, store: HookStore) -> None:
        self.store = store
        self.clock = FakeClock()
        self.outbox = FakeOutbox()
        self.restart()

    def restart(self) -> None:
        self.hooks = Hooks(self.store, Sealer(b"k" * 32), self.clock, region="us-home-1")
        self.receiver = Receiver(self.hooks, self.store, self.outbox, self.clock)

    async def put(self, scheme: Scheme = Scheme.GITHUB, **given: Any) -> tuple[str, str]:
        """The id and the secret of a hook."""
        settings = {"name": "h", "target": "f", "scheme": scheme} | given
        changed = await self.hooks.put(ACCOUNT, HookSettings(**settings))
        return changed.hook.id, changed.secret

    async def send(
        self, hook_id: str, body: bytes, headers: dict[str, str] | None = None, secret: str = ""
    ) -> Receipt:
        given = {**JSON, **(headers or {})}
        if secret:
            digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            given["x-hub-signature-256"] = f"sha256={digest}"
        opened = await self.receiver.admit(hook_id)
        return await self.receiver.take(
            opened, Arrival(given, body, lambda _account, _event: Origin(), lambda: b'{"http":1}')
        )

    @property
    def payloads(self) -> list[Any]:
        return [json.loads(each.payload) for each in self.outbox.sent]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    db = await open_database(tmp_path / "messages.db", migrations=MESSAGES)
    yield Rig(HookStore(db))
    await db.close()


async def test_a_webhook_becomes_a_cloudevent(rig: Rig) -> None:
    hook_id, secret = await rig.put()
    headers = {"x-github-event": "push", "x-github-delivery": "d-1"}
    receipt = await rig.send(hook_id, b'{"ref":"main"}', headers, secret)
    assert (receipt.id, receipt.messages, receipt.duplicate) == ("d-1", 1, False)
    [message] = rig.outbox.sent
    assert message.target == f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:f"
    assert message.source == f"arn:aws:forerun:us-home-1:{ACCOUNT}:hook/h"
    assert message.principal == "hooks.forerun"
    [event] = rig.payloads
    assert event["data"] == {"ref": "main"}
    assert (event["id"], event["type"], event["specversion"]) == ("d-1", "com.github.push", "1.0")
    assert hook_id not in message.payload.decode(), "the URL is a secret"


@pytest.mark.databases
async def test_what_is_replayed_runs_once_also_after_a_restart(rig: Rig) -> None:
    hook_id, secret = await rig.put(max_age_s=600.0)
    await rig.send(hook_id, b"{}", secret=secret)
    assert (await rig.send(hook_id, b"{}", secret=secret)).duplicate
    rig.restart()
    assert (await rig.send(hook_id, b"{}", {"x-github-delivery": "other"}, secret)).duplicate
    assert len(rig.outbox.sent) == 1
    assert not (await rig.send(hook_id, b"{ }", secret=secret)).duplicate
    await rig.clock.advance(700.0)
    await rig.store.sweep(rig.clock.now())
    assert not (await rig.send(hook_id, b"{}", secret=secret)).duplicate


async def test_an_outbox_that_fails_takes_nothing_and_the_same_comes_again(rig: Rig) -> None:
    hook_id, secret = await rig.put()
    rig.outbox.fails = StorageFailed("disk full")
    with pytest.raises(StorageFailed):
        await rig.send(hook_id, b"{}", secret=secret)
    rig.outbox.fails = None
    assert not (await rig.send(hook_id, b"{}", secret=secret)).duplicate
    assert len(rig.outbox.sent) == 1


@pytest.mark.databases
async def test_a_server_that_dies_between_the_outbox_and_memory_sends_the_same_id(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook_id, secret = await rig.put()

    async def dies(*_args: object) -> None:
        raise StorageFailed("killed")

    with monkeypatch.context() as patch:
        patch.setattr(rig.store, "remember", dies)
        with pytest.raises(StorageFailed):
            await rig.send(hook_id, b"{}", secret=secret)
    rig.restart()
    await rig.send(hook_id, b"{}", secret=secret)
    first, second = rig.outbox.sent
    assert first.id == second.id


async def test_the_same_at_once_is_told_to_come_again(rig: Rig) -> None:
    hook_id, secret = await rig.put()
    send = rig.outbox.send
    refused = []

    async def slowly(messages: Any) -> None:
        with pytest.raises(Conflict) as caught:
            await rig.send(hook_id, b"{}", secret=secret)
        refused.append(caught)
        await send(messages)

    rig.outbox.send = slowly  # type: ignore[method-assign]
    await rig.send(hook_id, b"{}", secret=secret)
    assert len(refused) == len(rig.outbox.sent) == 1


async def test_unsigned_is_refused_unless_the_hook_says_none(rig: Rig) -> None:
    hook_id, _ = await rig.put()
    with pytest.raises(AccessDenied):
        await rig.send(hook_id, b"{}")
    with pytest.raises(AccessDenied):
        await rig.send(hook_id, b"{}", secret="a wrong secret")
    assert rig.outbox.sent == []
    assert rig.receiver.counts(hook_id).refused == 2
    open_id, secret = await rig.put(Scheme.NONE, name="open")
    assert secret == ""
    for _ in range(2):
        assert not (await rig.send(open_id, b"{}")).duplicate
    assert len({each.id for each in rig.outbox.sent}) == 2


def event(event_id: str, source: str = "/s") -> dict[str, str]:
    return {"specversion": "1.0", "id": event_id, "source": source, "type": "t"}


async def test_events_are_known_by_source_and_id_in_every_mode(rig: Rig) -> None:
    hook_id, _ = await rig.put(Scheme.NONE)
    structured = {"content-type": STRUCTURED}
    binary = {f"ce-{name}": value for name, value in event("1").items()}
    batch = {"content-type": "application/cloudevents-batch+json"}
    body = json.dumps(event("1")).encode()
    assert not (await rig.send(hook_id, body, structured)).duplicate
    assert (await rig.send(hook_id, body, structured)).duplicate
    assert (await rig.send(hook_id, b"{}", binary)).duplicate
    three = [event("1"), event("2"), event("1", "/other"), event("2")]
    receipt = await rig.send(hook_id, json.dumps(three).encode(), batch)
    assert (receipt.messages, receipt.duplicate) == (2, False)
    assert (await rig.send(hook_id, json.dumps(three).encode(), batch)).duplicate
    assert (await rig.send(hook_id, b"[]", batch)).messages == 0
    assert [(each["source"], each["id"]) for each in rig.payloads] == [
        ("/s", "1"),
        ("/s", "2"),
        ("/other", "1"),
    ]
    with pytest.raises(InvalidInput, match="specversion"):
        await rig.send(hook_id, b"{}", structured)


async def test_the_forms_for_targets(rig: Rig) -> None:
    raw, _ = await rig.put(Scheme.NONE, name="raw", target_format=TargetFormat.RAW)
    await rig.send(raw, b'{"a":1}')
    with pytest.raises(InvalidInput, match="given JSON"):
        await rig.send(raw, b"no json")
    http, _ = await rig.put(Scheme.NONE, name="http", target_format=TargetFormat.HTTP)
    await rig.send(http, b"\xff", {"content-type": "image/png"})
    assert rig.payloads == [{"a": 1}, {"http": 1}]
    queue, _ = await rig.put(
        Scheme.NONE, name="queue", target=f"{QUEUE}.fifo", target_format=TargetFormat.RAW
    )
    await rig.send(queue, b"no json")
    assert rig.outbox.sent[-1].payload == b"no json"
    assert rig.outbox.sent[-1].attributes["MessageGroupId"] == "queue"
    url, _ = await rig.put(Scheme.NONE, name="url", target="https://example.com/x")
    await rig.send(url, b"{}")
    assert rig.outbox.sent[-1].attributes == {"header:Content-Type": STRUCTURED}


async def test_content_types(rig: Rig) -> None:
    usual, _ = await rig.put(Scheme.NONE)
    with pytest.raises(Unsupported, match="image/png"):
        await rig.send(usual, b"x", {"content-type": "image/png"})
    await rig.send(usual, b"{}", {"content-type": "application/vnd.x+json; charset=utf-8"})
    chosen, _ = await rig.put(Scheme.NONE, name="c", content_types=["text/*"])
    await rig.send(chosen, b"hello", {"content-type": "Text/Plain"})
    with pytest.raises(Unsupported):
        await rig.send(chosen, b"{}")
    assert [each.get("data") for each in rig.payloads] == [{}, "hello"]


async def test_a_flood_is_bounded_and_passes(rig: Rig) -> None:
    hook_id, _ = await rig.put(Scheme.NONE, rate_per_s=2.0)
    for _ in range(4):
        await rig.send(hook_id, b"{}")
    for _ in range(20):
        with pytest.raises(Throttled) as caught:
            await rig.send(hook_id, b"{}")
        assert 0 < caught.value.retry_after_s <= 0.5
    await rig.clock.advance(1.0)
    await rig.send(hook_id, b"{}")


def test_buckets_fill_to_their_rim_only() -> None:
    bucket = Bucket(0.5)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(0.0) == 2.0
    assert bucket.take(1.0) == 1.0
    assert bucket.take(2.0) == 0.0
    assert [bucket.take(1e9) for _ in range(2)] == [0.0, 2.0]


@pytest.mark.databases
async def test_secrets_are_sealed_rotated_and_forgotten(rig: Rig) -> None:
    hook_id, old = await rig.put()
    stored = msgspec.msgpack.encode(await rig.store.by_id(hook_id))
    assert old.encode() not in stored
    new = (await rig.hooks.rotate(ACCOUNT, "h", None, 100.0)).secret
    assert new != old
    for number, secret in enumerate((old, new)):
        await rig.send(hook_id, b"%d" % number, secret=secret)
    await rig.clock.advance(101.0)
    with pytest.raises(AccessDenied):
        await rig.send(hook_id, b"3", secret=old)
    await rig.send(hook_id, b"3", secret=new)
    changed = await rig.hooks.put(
        ACCOUNT, HookSettings(name="h", target=QUEUE, scheme=Scheme.GITHUB)
    )
    assert (changed.hook.id, changed.secret) == (hook_id, ""), "URL and secret stay"
    await rig.send(hook_id, b"4", secret=new)
    assert rig.outbox.sent[-1].target == QUEUE
    await rig.hooks.delete(ACCOUNT, "h")
    with pytest.raises(NotFound):
        await rig.receiver.admit(hook_id)


async def test_accounts_do_not_see_each_other(rig: Rig) -> None:
    await rig.put()
    other = "999999999999"
    assert await rig.hooks.list(other) == []
    for act in (rig.hooks.get(other, "h"), rig.hooks.delete(other, "h")):
        with pytest.raises(NotFound):
            await act
    await rig.hooks.put(other, HookSettings(name="h", target="f", scheme=Scheme.NONE))
    assert len(await rig.hooks.list(ACCOUNT)) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "a b"}, "Name must"),
        ({"target": "arn:aws:lambda:us-home-1:999999999999:function:f"}, "of this account"),
        ({"target": "arn:aws:sqs:us-home-1:999999999999:q"}, "of this account"),
        ({"target": "arn:aws:dynamodb:us-home-1:123456789012:t"}, "Target must"),
        ({"target": "http://"}, "no URL"),
        ({"target": "a name!"}, "functionName"),
        ({"max_age_s": 0.0}, "MaxAgeSeconds"),
        ({"max_age_s": float("nan")}, "MaxAgeSeconds"),
        ({"rate_per_s": 1e9}, "RatePerSecond"),
        ({"max_age_s": 600_000.0, "rate_per_s": 1000.0}, "MaxAgeSeconds times"),
        ({"content_types": ["json"]}, "ContentTypes"),
        ({"content_types": ["a/b"] * 21}, "ContentTypes"),
        ({"secret": "short"}, "Secret must"),
        ({"scheme": Scheme.NONE, "secret": "of no use"}, "Secret is of no use"),
        ({"scheme": Scheme.STRIPE}, "Secret is missing"),
        ({"scheme": Scheme.STANDARD, "secret": "whsec_!!!!"}, "base64"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_settings_that_are_refused(rig: Rig, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        await rig.put(**given)
