"""Shows many machines at work on this one: two control planes, two hosts and a PostgreSQL, each in a network namespace of its own.

Run it as root with ``make demo-cluster``. It shows where calls run and why, what clients notice when a host loses its power, and
how the other control plane goes on when the one with the duties does. A minute or two; everything it starts ends with it.

Machines are made of the same parts as those of the tests. Functions are plain processes here, without a jail, so that they reach a
service over the network of their host.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fleets import running_fleet
from tests.servers import FORERUN

HOSTS, PLANES = ("h1", "h2"), ("a", "b")
FAR_S = 0.04
EVENTS = 30
WITHIN_S = 45
SETTINGS = {
    "FORERUN_CLUSTER_MIN_EXECUTIONS": "5",
    "FORERUN_CLUSTER_PROBE_S": "0.5",
    # Small, so that both hosts soon have some of the account's limit: calls run only where it has.
    "FORERUN_CLUSTER_SHARE": "4",
    "FORERUN_CLUSTER_SHRINK_S": "600",
    "FORERUN_HOST_MEMORY_MB": "2048",
    "FORERUN_HOST_POOL_MIN": "2",
}
PAY = """
import http.client
def handler(event, context):
    bank = http.client.HTTPConnection(event["bank"], timeout=5)
    bank.request("GET", "/")
    return bank.getresponse().status
"""
WRITE = """
import time
def handler(event, context):
    time.sleep(0.2)
    with open(event["into"], "a") as file:
        file.write(f"{event['n']}\\n")
"""

console = Console(width=None if sys.stdout.isatty() else 110)
seen = Table("what", "seen", title="What was seen", title_justify="left", header_style="bold")


def main():
    """The whole show; the exit status."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "nsenter", "setpriv"))):
        sys.exit("It makes network namespaces: run it as root, with ip and nft installed.")
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="forerun-cluster-"))
    folder.chmod(0o755)
    console.rule("[bold]PostgreSQL, forerun up --cluster, forerun join: five machines")
    try:
        with running_fleet(folder, planes=PLANES, hosts=HOSTS, **SETTINGS) as fleet:
            note("from nothing to two hosts behind two control planes", since(began))
            forerun(fleet, "hosts")
            show_placement(fleet)
            show_host_lost(fleet)
            show_control_plane_lost(fleet, folder / "events")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.rule()
    console.print(seen)
    console.print(f"Everything is ended. It took {since(began)}.")
    return 0


def show_placement(fleet):
    """A function that calls a service runs where that service is near."""
    bank = fleet.machine("bank")
    fleet.network.delay(fleet.machine("h2"), bank, FAR_S)
    fleet.network.delay(fleet.machine("h1"), bank, 0)
    listener = bank.listen()
    serve(listener)
    address = "{}:{}".format(*listener.getsockname())
    console.rule(
        f"[bold]pay calls a bank that is {1000 * FAR_S:.0f} ms further from h2 than from h1"
    )
    fleet.first.function(PAY, name="pay", Timeout=10, Tags={"forerun:egress": "open"})
    early = where(fleet, "pay", {"bank": address}, 24, at_once=8)
    wait(
        lambda: where(fleet, "pay", {"bank": address}, 10) == {"h1": 10},
        "pay runs where the bank is near",
    )
    late = where(fleet, "pay", {"bank": address}, 20)
    note("pay before anything was known of it, and after", f"{told(early)}; then {told(late)}")
    [newest] = fleet.first.invocations("pay", 1)
    console.print(f"why there: {newest['placement']}", highlight=False)
    if newest.get("placed"):
        scores = newest["placed"]["scores"]
        console.print(f"expected costs in ms: {json.dumps(scores)}", highlight=False)
    for each in fleet.told("hosts")["Hosts"]:
        if address in each["Channels"]:
            note(
                f"channel from {each['Name']} to the bank", f"{each['Channels'][address][0]:.2f} ms"
            )


def show_host_lost(fleet):
    """A host loses its power while clients call."""
    console.rule("[bold]h1 loses its power while clients call")
    fleet.first.function("def handler(event, context):\n    return event\n", name="echo")
    where(fleet, "echo", {}, 24, at_once=8)
    calls = Caller(fleet, "echo")
    time.sleep(2)
    fleet.power_off("h1")
    wait(lambda: "h1" not in fleet.alive(), "h1 is noticed")
    time.sleep(3)
    calls.stop()
    # A call that had begun there is not begun again: its client is told, and may try.
    note("calls while h1 died", calls.told())
    forerun(fleet, "hosts")
    fleet.power_on("h1")
    took = wait(lambda: "h1" in fleet.alive(), "h1 is back")
    note("h1 with power again takes calls after", took)


def show_control_plane_lost(fleet, folder):
    """The control plane with the duties loses its power; what it had accepted is run, once each."""
    holder = fleet.holder()
    other = next(name for name in PLANES if name != holder)
    console.rule(f"[bold]{holder}, which has the duties, loses its power; {EVENTS} events wait")
    folder.mkdir()
    into = folder / "run"
    fleet.named(holder).function(WRITE, name="write", Timeout=10)
    client = fleet.named(holder).lambda_
    for n in range(EVENTS):
        payload = json.dumps({"n": n, "into": str(into)})
        client.invoke(FunctionName="write", InvocationType="Event", Payload=payload)
    calls = Caller(fleet, "echo", planes=[other])
    fleet.power_off(holder)
    took = wait(lambda: fleet.holder(fleet.named(other)) == other, f"{other} has the duties")
    note(f"{other} has the duties after", took)
    wait(lambda: into.exists() and len(set(into.read_text().split())) == EVENTS, "all events ran")
    calls.stop()
    ran = Counter(into.read_text().split())
    note(
        "events that were accepted, run, run again",
        f"{EVENTS}, {len(ran)}, {ran.total() - len(ran)}",
    )
    note(f"calls at {other} meanwhile", calls.told())


class Caller:
    """Calls a function again and again, at all control planes in turns, until ``stop``."""

    def __init__(self, fleet, name, planes=PLANES):
        self._clients = [fleet.named(plane).lambda_ for plane in planes]
        self._name = name
        self._stop = threading.Event()
        self.answered, self.refused, self.longest = 0, Counter(), 0.0
        self._thread = threading.Thread(target=self._call)
        self._thread.start()

    def stop(self):
        """No more calls."""
        self._stop.set()
        self._thread.join()

    def told(self):
        """What came of them."""
        failed = ", ".join(f"{n} {why}" for why, n in self.refused.items()) or "none failed"
        return f"{self.answered} answered, {failed}; the longest took {1000 * self.longest:.0f} ms"

    def _call(self):
        n = 0
        while not self._stop.wait(0.02):
            client, n = self._clients[n % len(self._clients)], n + 1
            began = time.monotonic()
            try:
                client.invoke(FunctionName=self._name, Payload=b"1")["Payload"].read()
                self.answered += 1
            except ClientError as error:
                self.refused[error.response["Error"]["Code"]] += 1
            except BotoCoreError as error:
                self.refused[type(error).__name__] += 1
            self.longest = max(self.longest, time.monotonic() - began)


class Bank(BaseHTTPRequestHandler):
    """Answers everything with 200."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Nothing is written down."""


def serve(listener):
    """Answer on a socket, in a thread that ends with this process."""
    server = HTTPServer(listener.getsockname(), Bank, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    threading.Thread(target=server.serve_forever, daemon=True).start()


def where(fleet, name, payload, count, at_once=1):
    """Call it so often, through both control planes; on how many hosts how many ran."""
    planes = fleet.running()
    before = {each["request_id"] for each in fleet.first.invocations(name)}
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda n: planes[n % len(planes)].call(name, payload), range(count)))

    def fresh():
        records = fleet.first.invocations(name)
        found = [each["host"] for each in records if each["request_id"] not in before]
        return found if len(found) >= count else None

    deadline = time.monotonic() + WITHIN_S
    while (found := fresh()) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return Counter(found)


def forerun(fleet, *words):
    """A command as an operator gives it."""
    console.print(f"[bold]forerun {' '.join(words)}")
    environment = fleet.first.environment(fleet.folder)
    done = subprocess.run(
        [FORERUN, *words], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    console.print(done.stdout.rstrip(), highlight=False, markup=False, soft_wrap=True)


def wait(until, what):
    """Until it is so; how long that took, in words."""
    began = time.monotonic()
    while not until():
        if time.monotonic() - began > WITHIN_S:
            raise TimeoutError(f"it was waited {WITHIN_S} s: {what}")
        time.sleep(0.05)
    return since(began)


def told(hosts):
    """Counts by host, in words."""
    return ", ".join(f"{hosts[name]} on {name}" for name in sorted(hosts))


def since(began):
    """Seconds, in words."""
    return f"{time.monotonic() - began:.1f} s"


def note(what, told):
    """Say it, and keep it for the end."""
    seen.add_row(what, told)
    console.print(f"{what}: [bold]{told}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
