"""Messages over all sources to a server that is killed again and again: is any lost?

    .venv/bin/python bench/events_chaos.py [--messages 100000] [--kills 20] [--seed N] [--lose] [--json] [--out FILE]

Senders retry what was not acknowledged, and nothing else. Functions write each message that they are given into a file, which the
server has no part in; for that they run as plain processes. The server is killed by SIGKILL at moments that the seed
chooses, and started again. At the end every acknowledged message must have run, once at least, and those with an execution
identifier, which are sent twice, must not have succeeded twice. With --lose what waits in the
databases is deleted at each kill, to see that it is missed.
"""

import argparse
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from case import Run
from chaos_sources import (
    Bucket,
    Bus,
    Folder,
    Invoke,
    Place,
    Queue,
    Refused,
    Scheduler,
    Source,
    Topic,
    Webhook,
)
from quiet import machine
from results import Line, as_json, show
from server import Server

# Without any progress for so long, the rest is lost.
PATIENCE_S = 60.0
LATER = ("Throttl", "TooManyRequests", "LimitExceeded", "InternalFailure", "ServiceUnavailable")


class Ledger:
    """What ran: the requests of each message, in the order in which messages came first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self.runs: dict[str, list[str]] = {}
        self._read = 0

    def read(self) -> None:
        """Take up what was written since."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            # A line may be on its way.
            new, found, _ = file.read().rpartition(b"\n")
        self._read += len(new) + len(found)
        for line in new.decode().split("\n") if new else ():
            message, _, request = line.partition(" ")
            self.runs.setdefault(message, []).append(request)


class Sending:
    """The messages of one source, by lane; each lane is sent by a thread of its own."""

    def __init__(self, source: Source, count: int) -> None:
        self.source = source
        self.acknowledged: set[str] = set()
        self.refused: list[str] = []
        self._stop = threading.Event()
        ids = [f"{source.name}-{number}" for number in range(count)]
        self.lanes = [ids[lane :: source.threads] for lane in range(source.threads)]
        self._threads = [
            threading.Thread(target=self._send, args=(lane,), daemon=True)
            for lane in range(source.threads)
        ]

    @property
    def going_on(self) -> bool:
        return any(each.is_alive() for each in self._threads)

    def start(self) -> None:
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        self._stop.set()
        for each in self._threads:
            each.join(60)

    def _send(self, lane: int) -> None:
        ids, size = self.lanes[lane], self.source.batch
        for begin in range(0, len(ids), size):
            self._insist(ids[begin : begin + size], lane)

    def _insist(self, ids: Sequence[str], lane: int) -> None:
        while ids and not self._stop.is_set():
            try:
                done = self.source.send(ids, lane)
            except ClientError as error:
                if not _passing(error):
                    self.refused.append(f"{ids[0]}: {error}")
                    return
                done = ()
            except Refused as error:
                self.refused.append(f"{ids[0]}: {error}")
                return
            except (BotoCoreError, OSError):
                done = ()
            self.acknowledged.update(done)
            ids = [each for each in ids if each not in self.acknowledged]
            if ids:
                self._stop.wait(0.1)


def _passing(error: ClientError) -> bool:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status >= 500 or any(word in error.response["Error"]["Code"] for word in LATER)


@dataclass
class Found:
    """What a run came to; lists name messages."""

    sent: int = 0
    kills: int = 0
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    overtaken: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    again: int = 0
    dead_letters: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)


def all_sources() -> list[Source]:
    """Every way there is, with its share of the messages in percent; those that run once are sent twice."""
    return [
        Queue("queue", 26),
        Queue("ordered", 14, fifo=True),
        Bus(20),
        Topic(15),
        Invoke("invoke", 8),
        Invoke("once", 2, once=True),
        Queue("keyed", 2, once=True),
        Webhook(5),
        Bucket(4),
        Folder(2),
        Scheduler(2),
    ]


@contextmanager
def _place() -> Iterator[tuple[Place, Ledger]]:
    with tempfile.TemporaryDirectory(prefix="forerun-chaos-") as folder:
        inbox = Path(folder) / "inbox"
        inbox.mkdir()
        ledger = Ledger(Path(folder) / "ledger")
        with Server(sandbox="process", events_folders=inbox) as server:
            yield Place(server, ledger.path, inbox), ledger


class Chaos:
    """One run: ``messages`` altogether, ``kills`` at moments that ``chance`` chooses; with ``lose`` it has to fail."""

    def __init__(
        self,
        messages: int,
        kills: int,
        chance: random.Random,
        *,
        patience_s: float = PATIENCE_S,
        lose: bool = False,
    ) -> None:
        self._messages = messages
        self._chance = chance
        self._patience_s = patience_s
        self._lose = lose
        # As parts of all that is to be done: accepting and running.
        self._moments = sorted(chance.uniform(0.03, 0.97) for _ in range(kills))
        self.found = Found()

    def run(self) -> Found:
        """Do it; the verdict."""
        with _place() as (place, ledger):
            sources = all_sources()
            for source in sources:
                source.prepare(place)
            sendings = [Sending(each, self._messages * each.share // 100) for each in sources]
            began = time.perf_counter()
            for each in sendings:
                each.start()
            try:
                self._watch(place.server, sendings, ledger)
            finally:
                for each in sendings:
                    each.stop()
            self.found.seconds = time.perf_counter() - began
            self._judge(place, sendings, ledger)
            return self.found

    def _watch(self, server: Server, sendings: Sequence[Sending], ledger: Ledger) -> None:
        """Kill and start until all is done, or nothing happens any more."""
        total = sum(len(lane) for each in sendings for lane in each.lanes)
        last, moved = -1, time.monotonic()
        while True:
            ledger.read()
            accepted = sum(len(each.acknowledged) for each in sendings)
            done = accepted + len(ledger.runs)
            if done != last:
                last, moved = done, time.monotonic()
            if self._moments and done >= 2 * total * self._moments[0]:
                self._moments.pop(0)
                time.sleep(self._chance.uniform(0, 0.3))
                server.kill()
                if self._lose:
                    _lose(server)
                server.start()
                self.found.kills += 1
                moved = time.monotonic()
            if server.process.poll() is not None:
                raise RuntimeError(f"the server ended by itself: {server._read_log()}")
            sending = any(each.going_on for each in sendings)
            if not sending and all(each.acknowledged <= ledger.runs.keys() for each in sendings):
                return
            if time.monotonic() - moved > self._patience_s:
                return
            time.sleep(0.02)

    def _judge(self, place: Place, sendings: Sequence[Sending], ledger: Ledger) -> None:
        found, runs = self.found, ledger.runs
        self._settle(place.server, sendings)
        ledger.read()
        found.sent = sum(len(each.acknowledged) for each in sendings)
        for each in sendings:
            found.lost += sorted(each.acknowledged - runs.keys())
            found.refused += each.refused
        found.again = sum(map(len, runs.values())) - len(runs)
        for each in sendings:
            if getattr(each.source, "once", False):
                found.twice += _successful_twice(place.server, each, ledger)
        [ordered] = [each for each in sendings if each.source.name == "ordered"]
        first = {message: place for place, message in enumerate(runs)}
        for lane in ordered.lanes:
            places = [first[each] for each in lane if each in first]
            found.overtaken += [
                each
                for each, before, after in zip(lane[1:], places, places[1:], strict=False)
                if after < before
            ]
        letters = place.server.ask("/forerun/dead-letters")["DeadLetters"]
        found.dead_letters = [str(each) for each in letters]

    def _settle(self, server: Server, sendings: Sequence[Sending]) -> None:
        """Wait until nothing is on its way any more; what is left in the end is told."""
        deadline = time.monotonic() + self._patience_s
        while True:
            left = {
                f"queue {each.source.name}": each.source.left()
                for each in sendings
                if isinstance(each.source, Queue)
            } | _on_their_way(server)
            if not any(left.values()) or time.monotonic() > deadline:
                self.found.left = {name: count for name, count in left.items() if count}
                return
            time.sleep(0.2)


def _successful_twice(server: Server, sending: Sending, ledger: Ledger) -> list[str]:
    """Messages of which more than one execution is on record as a success."""
    successes: set[str] = set()
    path = f"/forerun/invocations?FunctionName={sending.source.name}&Status=success&MaxItems=1000"
    marker = ""
    while True:
        page = server.ask(path + marker)
        successes.update(each["request_id"] for each in page["Invocations"])
        if "NextMarker" not in page:
            break
        marker = f"&Marker={page['NextMarker']}"
    return [
        each
        for each in sorted(sending.acknowledged)
        if len(successes.intersection(ledger.runs.get(each, ()))) > 1
    ]


def _on_their_way(server: Server) -> dict[str, int]:
    """Rows that wait, from the databases themselves."""
    found = {}
    for file, table in (("forerun.db", "event_queue"), ("messages.db", "outbox")):
        place = f"file:{server.data / file}?mode=ro"
        with closing(sqlite3.connect(place, uri=True, timeout=10)) as db:
            found[table] = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


def _lose(server: Server) -> None:
    """Delete what waits, behind the back of a server that is down."""
    for file, tables in (
        ("forerun.db", ("event_queue",)),
        ("messages.db", ("outbox", "queue_bodies", "queue_messages")),
    ):
        with closing(sqlite3.connect(server.data / file)) as db, db:
            for table in tables:
                db.execute(f"DELETE FROM {table}")


def lines(run: Run, found: Found) -> Iterator[Line]:
    """The verdict beside its targets."""
    yield run.line("messages acknowledged", found.sent, "messages")
    yield run.line("kills", found.kills, "kills")
    for what, named in (
        ("acknowledged and never run", found.lost),
        ("refused", found.refused),
        ("of a FIFO group, run before an earlier one", found.overtaken),
        ("successful twice in spite of an identifier", found.twice),
        ("dead letters", found.dead_letters),
    ):
        yield run.line(what, len(named), "messages", 0, note=", ".join(named[:20]))
    note = ", ".join(f"{name}: {count}" for name, count in found.left.items())
    yield run.line("left on their way", sum(found.left.values()), "messages", 0, note=note)
    yield run.line("run again", found.again, "runs")
    yield run.line("all of it", found.seconds, "s")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds")
    parser.add_argument("--lose", action="store_true", help="delete what waits at each kill")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", help="also write the JSON to this file")
    asked = parser.parse_args()
    chaos = Chaos(
        asked.messages,
        asked.kills,
        random.Random(asked.seed),
        patience_s=asked.patience,
        lose=asked.lose,
    )
    found = chaos.run()
    told = list(lines(Run("events_chaos"), found))
    text = as_json(told, machine=machine(), quick=False)
    if asked.out:
        Path(asked.out).write_text(text)
    if asked.json:
        print(text)
    else:
        show(told, "Messages under kill -9")
    return 0 if all(line.met is not False for line in told) else 1


if __name__ == "__main__":
    sys.exit(main())
