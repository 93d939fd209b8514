"""Clients of a cluster under faults: they send, call, write and read through every control plane, and note what they see."""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError
from jepsen_history import Called, History, Outcome, Read, Sent, Wrote

# A line when it begins, one again and again while it goes on, and one when it ends: what is killed was there at its last line.
SOURCE = """
import os, time, uuid

out = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)
name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]

def handler(event, context):
    execution = uuid.uuid4().hex
    def tell(what):
        line = f"{what} {name} {event['token']} {execution} {time.monotonic()}\\n"
        os.write(out, line.encode())
    tell("begin")
    until = time.monotonic() + event["s"]
    while time.monotonic() < until:
        time.sleep(0.03)
        tell("still")
    tell("end")
"""
VALUE = "import os\ndef handler(event, context):\n    return int(os.environ['VALUE'])\n"

EVENTS, SHARED, KEPT, CONFIGURED = "events", "shared", "kept", "configured"
ACCOUNT = 11
RESERVED = {EVENTS: 4, KEPT: 2}
TIMEOUT_S = 5
WAIT_S = 3
# What a call may take that waits for room, whose host is lost just before its end, and that is told so.
ANSWER_S = 20.0
CLIENT_S = 25.0
READ_S = 10.0

Client = Any


def deploy(server: Any, folder: Path) -> Path:
    """Make the functions; the file that they write."""
    ledger = folder / "ledger"
    ledger.touch()
    ledger.chmod(0o666)
    written = {"Variables": {"LEDGER": str(ledger)}}
    for name in (EVENTS, SHARED, KEPT):
        server.function(SOURCE, name=name, Timeout=TIMEOUT_S, Environment=written)
    for name, amount in RESERVED.items():
        server.lambda_.put_function_concurrency(
            FunctionName=name, ReservedConcurrentExecutions=amount
        )
    value = {"Variables": {"VALUE": "0"}}
    server.function(VALUE, name=CONFIGURED, Timeout=TIMEOUT_S, Environment=value)
    return ledger


def new_history() -> History:
    """Of these functions."""
    return History(
        limits={"account": ACCOUNT - sum(RESERVED.values()), **RESERVED},
        groups={SHARED: "account", EVENTS: EVENTS, KEPT: KEPT},
    )


class Workers:
    """All clients, each a thread: ``start``, then ``stop``. ``clients`` are of control planes, by name; ``errors`` what broke clients."""

    def __init__(self, clients: Mapping[str, Client], history: History, seed: int) -> None:
        self._clients = clients
        self._history = history
        self._seed = seed
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._numbers: dict[str, int] = {}
        self.errors: list[BaseException] = []

    def start(self) -> None:
        for number in range(2):
            self._begin(f"events-{number}", self._send)
        for number in range(3):
            self._begin(f"shared-{number}", lambda chance, name: self._call(chance, name, SHARED))
        self._begin("burst", self._burst)
        self._begin("kept", lambda chance, name: self._call(chance, name, KEPT))
        self._begin("writer", self._write)
        for number in range(2):
            self._begin(f"reader-{number}", self._read)

    def stop(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._over.set()
        for thread in self._threads:
            thread.join(3 * CLIENT_S)
            assert not thread.is_alive(), f"{thread.name} does not end"

    def _begin(self, name: str, turn: Callable[[random.Random, str], None]) -> None:
        chance = random.Random(f"{self._seed} {name}")

        def work() -> None:
            try:
                while not self._over.is_set():
                    turn(chance, name)
            except BaseException as error:  # noqa: BLE001 whoever waits is told
                self.errors.append(error)

        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _note(self, kept: list[Any], what: Any) -> None:
        with self._lock:
            kept.append(what)

    def _token(self, kind: str) -> str:
        with self._lock:
            self._numbers[kind] = number = self._numbers.get(kind, 0) + 1
        return f"{kind}-{number}"

    # -- what they do --------------------------------------------------------------------------------------------

    def _send(self, chance: random.Random, _: str) -> None:
        token, plane = self._token("event"), chance.choice(sorted(self._clients))
        given = {"token": token, "s": chance.choice((0.0, 0.1, 0.3, 1.0))}
        began = time.monotonic()
        outcome, told, _answer = attempt(
            lambda: self._clients[plane].invoke(
                FunctionName=EVENTS, InvocationType="Event", Payload=json.dumps(given)
            )
        )
        sent = Sent(
            token=token,
            plane=plane,
            began=began,
            ended=time.monotonic(),
            outcome=outcome,
            told=told,
        )
        self._note(self._history.sent, sent)
        self._over.wait(chance.uniform(0.1, 0.8))

    def _call(self, chance: random.Random, _: str, function: str) -> None:
        self._one_call(chance, function, chance.choice((0.05, 0.2, 0.6)))
        self._over.wait(chance.uniform(0.0, 0.3))

    def _burst(self, chance: random.Random, _: str) -> None:
        """More at once than may run, from time to time."""
        many = [
            threading.Thread(
                target=self._one_call,
                args=(random.Random(chance.random()), function, 0.5),
                daemon=True,
            )
            for function in (SHARED, KEPT)
            for _ in range(ACCOUNT - 3 if function == SHARED else RESERVED[KEPT] + 1)
        ]
        for thread in many:
            thread.start()
        for thread in many:
            thread.join()
        self._over.wait(chance.uniform(2.0, 6.0))

    def _one_call(self, chance: random.Random, function: str, seconds: float) -> None:
        token, plane = self._token(function), chance.choice(sorted(self._clients))
        payload = json.dumps({"token": token, "s": seconds})
        began = time.monotonic()
        outcome, told, _ = attempt(
            lambda: self._clients[plane].invoke(FunctionName=function, Payload=payload)
        )
        called = Called(
            token=token,
            plane=plane,
            began=began,
            ended=time.monotonic(),
            deadline=began + ANSWER_S,
            outcome=outcome,
            told=told,
        )
        self._note(self._history.called, called)
        if outcome != "done":
            self._over.wait(0.1)

    def _write(self, chance: random.Random, _: str) -> None:
        """The next value, over what was read just before: an earlier write that is still on its way fails then."""
        plane = chance.choice(sorted(self._clients))
        client = self._clients[plane]
        outcome, _, seen = attempt(
            lambda: client.get_function_configuration(FunctionName=CONFIGURED)
        )
        if outcome != "done":
            self._over.wait(0.5)
            return
        value = int(self._token("value").rpartition("-")[2])
        began = time.monotonic()
        outcome, told, _answer = attempt(
            lambda: client.update_function_configuration(
                FunctionName=CONFIGURED,
                Environment={"Variables": {"VALUE": str(value)}},
                RevisionId=seen["RevisionId"],
            )
        )
        wrote = Wrote(
            value=value,
            plane=plane,
            began=began,
            ended=time.monotonic(),
            outcome=outcome,
            told=told,
        )
        self._note(self._history.wrote, wrote)
        self._over.wait(chance.uniform(0.1, 1.0))

    def _read(self, chance: random.Random, name: str) -> None:
        plane, way = chance.choice(sorted(self._clients)), chance.choice(("asking", "calling"))
        client = self._clients[plane]
        began = time.monotonic()
        if way == "asking":
            outcome, _, seen = attempt(
                lambda: client.get_function_configuration(FunctionName=CONFIGURED)
            )
            value = int(seen["Environment"]["Variables"]["VALUE"]) if outcome == "done" else -1
        else:
            outcome, _, seen = attempt(lambda: client.invoke(FunctionName=CONFIGURED))
            value = int(seen["Payload"].read()) if outcome == "done" else -1
        if outcome == "done":
            read = Read(
                value=value,
                client=name,
                plane=plane,
                way=way,
                began=began,
                ended=time.monotonic(),
            )
            self._note(self._history.read, read)
        self._over.wait(chance.uniform(0.0, 0.2) if outcome == "done" else 0.3)


def attempt(operation: Callable[[], Any]) -> tuple[Outcome, str, Any]:
    """What came of it, what was told, and the answer."""
    try:
        answer = operation()
    except ClientError as error:
        return _outcome_of(error), str(error)[-300:], None
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        return "unknown", str(error)[-300:], None
    except BotoCoreError as error:
        # The connection ended or was refused: that is an answer, though not whether it ran.
        return "failed", str(error)[-300:], None
    if "FunctionError" in answer:
        with suppress(ValueError, KeyError):
            return "failed", answer["Payload"].read().decode()[-300:], None
    return "done", "", answer


def _outcome_of(error: ClientError) -> Outcome:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "refused" if status == 429 or status in (412, 403, 404) else "failed"


def settled(history: History, ledger: Path) -> Sequence[str]:
    """Accepted events that have not run to their end yet."""
    ended = {line.split()[2] for line in ledger.read_text().splitlines() if line.startswith("end ")}
    return [
        sent.token
        for sent in list(history.sent)
        if sent.outcome == "done" and sent.token not in ended
    ]
