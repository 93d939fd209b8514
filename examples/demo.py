"""Shows the platform at work: starts a server, deploys ``examples/orders``, calls it in every way, prints what happened.

Run it with ``make demo``. The server is stopped at the end unless ``--keep`` is given; its data lies in a fresh folder,
or in ``$DEMO_DIR``.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
FORERUN = str(BIN / "forerun")
ORDERS = HERE / "orders"
READY_WITHIN_S = 60
AT_ONCE = 16
STEPS = ("admit", "queue", "sandbox", "load", "enter", "run", "answer")
FUNCTIONS = ("orders", "pricing", "stock", "confirm")
COLOURS = {"warm": "green", "prewarmed": "green", "pool": "cyan", "zygote": "yellow", "cold": "red"}

console = Console(width=None if sys.stdout.isatty() else 110)


def main():
    """The whole show; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    keep = parser.parse_args().keep
    given = os.environ.get("DEMO_DIR")
    data = Path(given or tempfile.mkdtemp(prefix="forerun-demo-")).absolute()
    data.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    server = start_server(data)
    try:
        environment = {**clean_environment(), **exports(data)}
        show(data, environment, began)
        if keep:
            say_how_to_go_on(data, server)
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            stop_server(server)
            if not given:
                shutil.rmtree(data, ignore_errors=True)
    if not keep:
        console.print(
            "\nThe server is stopped. Keep it and play with it: [bold]make demo KEEP=1[/]"
        )
    return 0


def start_server(data):
    """Start ``forerun up`` and wait for its ready line."""
    console.rule("[bold]forerun up")
    command = [FORERUN, "up", "--listen", f"127.0.0.1:{free_port()}", "--data", str(data)]
    log = (data / "server.log").open("ab")
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=log,
        env=clean_environment(),
        text=True,
        start_new_session=True,
    )
    log.close()
    lines = queue.Queue()
    threading.Thread(target=read_lines, args=(server.stdout, lines), daemon=True).start()
    try:
        ready = lines.get(timeout=READY_WITHIN_S)
    except queue.Empty:
        ready = ""
    if not ready.startswith("ready"):
        stop_server(server)
        sys.exit(f"the server did not start:\n{(data / 'server.log').read_text()[-4000:]}")
    console.print(ready.strip(), highlight=False, soft_wrap=True)
    return server


def read_lines(stream, lines):
    """Hand on what the server prints; an empty line when it ended."""
    for line in stream:
        lines.put(line)
    lines.put("")


def stop_server(server):
    """End the server that we started, by its own id."""
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=40)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(timeout=10)


def show(data, environment, began):
    """Deploy, call, and look."""
    os.environ.update(environment)
    console.rule("[bold]forerun deploy examples/orders/template.yaml")
    outputs = deploy(data)
    console.rule("[bold]One order, four clients")
    book, office = (ORDERS / "inputs/books.json"), (ORDERS / "inputs/office.json")
    first = call_with_forerun(data, book)
    since_start = time.monotonic() - began
    console.print(f"first answer {since_start:.1f} s after nothing: {describe(first)}")
    call_with_aws_cli(office)
    call_with_boto3(ORDERS / "inputs/sold_out.json")
    call_through_url(outputs["OrdersUrl"], book)
    call_again(book, 10)
    console.rule("[bold]forerun invocations: where the milliseconds of each call went")
    print_steps(data)
    console.rule(f"[bold]{AT_ONCE} orders at once, where each sandbox serves one call at a time")
    call_many(json.loads(book.read_text()), AT_ONCE)
    wait_for_letters(AT_ONCE)
    print_starts(data)
    print_letter()
    console.rule(
        "[bold]forerun profile orders: what was seen of it, without a line of tracing code in it"
    )
    print_profile(data)


def deploy(data):
    """Deploy the template with runtimes that this server has; the template's outputs."""
    served = list(run_json(data, "status")["runtimes"])
    parameters = []
    for name, prefix, wanted in (
        ("PythonRuntime", "python", "python3.11"),
        ("NodeRuntime", "nodejs", "nodejs20.x"),
    ):
        fitting = [runtime for runtime in served if runtime.startswith(prefix)]
        if not fitting:
            sys.exit(f"This machine has no {prefix} that the server could run; see: forerun doctor")
        chosen = wanted if wanted in fitting else fitting[-1]
        parameters += ["--parameter", f"{name}={chosen}"]
    template = str(ORDERS / "template.yaml")
    result = run_json(data, "deploy", template, "--name", "shop", *parameters)
    table = Table("resource", "type", "action", box=None, header_style="bold")
    for item in result["resources"]:
        table.add_row(item["logical_id"], item["type"].removeprefix("AWS::"), item["action"])
    console.print(table)
    return result["outputs"]


def call_with_forerun(data, order):
    """``forerun invoke``."""
    console.print(f"[bold]forerun invoke orders @{order.name}")
    return run_json(data, "invoke", "orders", f"@{order}")["Payload"]


def call_with_aws_cli(order):
    """The AWS CLI, if it is installed; nothing but the environment points it here."""
    aws = shutil.which("aws", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if aws is None:
        console.print("[dim]The AWS CLI is not installed: that call is left out.")
        return
    console.print("[bold]aws lambda invoke --function-name orders ...")
    answer = Path(tempfile.mkdtemp(prefix="forerun-demo-")) / "answer.json"
    try:
        arguments = ["--function-name", "orders", "--payload", f"file://{order}", str(answer)]
        subprocess.run(
            [aws, "lambda", "invoke", *arguments], check=True, timeout=60, stdout=subprocess.DEVNULL
        )
        console.print(describe(json.loads(answer.read_text())))
    finally:
        shutil.rmtree(answer.parent)


def call_with_boto3(order):
    """boto3, with an order that must be refused."""
    console.print(f'[bold]boto3.client("lambda").invoke(...)[/]  {order.name}')
    answer = lambda_client().invoke(FunctionName="orders", Payload=order.read_bytes())
    console.print(describe(json.load(answer["Payload"])))


def call_through_url(url, order):
    """Plain HTTP, unsigned."""
    console.print(f"[bold]curl -d @{order.name} {url}")
    parts = urlsplit(url)
    # Not every resolver knows *.localhost; the Host header alone says which function is meant.
    request = urllib.request.Request(
        f"http://127.0.0.1:{parts.port}{parts.path}",
        data=order.read_bytes(),
        headers={"host": parts.netloc, "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        console.print(describe(json.load(answer)))


def call_again(order, count):
    """The same order again and again, one after the other: the warm path, as the client sees it."""
    client, body, taken = lambda_client(), order.read_bytes(), []
    for _ in range(count):
        began = time.perf_counter()
        client.invoke(FunctionName="orders", Payload=body)["Payload"].read()
        taken.append((time.perf_counter() - began) * 1000)
    taken.sort()
    console.print(
        f"{count} more: median {taken[count // 2]:.1f} ms for three functions in two languages"
    )


def call_many(order, count):
    """Orders at once; each needs sandboxes of ``orders``, ``pricing`` and ``stock``."""
    client = lambda_client()

    def call(number):
        body = json.dumps({**order, "id": f"o-{number:03}"})
        answer = client.invoke(FunctionName="orders", Payload=body)
        return json.load(answer["Payload"]).get("status")

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        results = list(pool.map(call, range(count)))
    taken = (time.monotonic() - began) * 1000
    accepted = results.count("accepted")
    console.print(
        f"{accepted} of {count} accepted in {taken:.0f} ms, confirmations follow by themselves"
    )
    if accepted != count:
        sys.exit(f"not every order was accepted: {results}")


def wait_for_letters(least):
    """Until the asynchronous confirmations have run, at most half a minute."""
    deadline = time.monotonic() + 30
    while len(run_json(None, "invocations", "confirm", "--limit", "1000")) < least:
        if time.monotonic() > deadline:
            console.print("[yellow]Some confirmations are still to come: forerun logs confirm -f")
            return
        time.sleep(0.2)


def print_steps(data):
    """The first call of each function and its quickest warm one, step by step."""
    table = Table("function", "start", box=None, header_style="bold")
    for column in (*STEPS, "total ms"):
        table.add_column(column, justify="right")
    for name in FUNCTIONS:
        records = run_json(data, "invocations", name, "--limit", "1000")
        first = records[-1]
        warm = [record for record in records[:-1] if record["start_type"] == "warm"]
        table.add_row(*row(name, first))
        if warm:
            table.add_row(*row("", min(warm, key=total_ms)))
    console.print(table)


def print_starts(data):
    """How the calls of each function started."""
    table = Table("function", "calls", "how they started", box=None, header_style="bold")
    for name in FUNCTIONS:
        records = run_json(data, "invocations", name, "--limit", "1000")
        kinds = [str(record["start_type"]) for record in records]
        words = [f"{coloured(kind)} {kinds.count(kind)}" for kind in dict.fromkeys(sorted(kinds))]
        table.add_row(name, str(len(records)), ", ".join(words))
    console.print(table)


def total_ms(record):
    """From receipt to answer."""
    return sum(record["steps_ms"].values())


def coloured(kind):
    """A start type in its colour."""
    return f"[{COLOURS.get(kind, 'white')}]{kind}[/]"


def row(name, record):
    """One line of the table of steps."""
    taken = record["steps_ms"]
    cells = [f"{taken[step]:.2f}" if step in taken else "-" for step in STEPS]
    return [name, coloured(record["start_type"]), *cells, f"{total_ms(record):.2f}"]


def print_letter():
    """The last confirmation, from the log of the function that wrote it."""
    console.rule("[bold]forerun logs confirm --filter Dear")
    logs = boto3.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName="/aws/lambda/confirm", filterPattern="Dear"
    )
    letters = [event["message"] for page in pages for event in page["events"]]
    if letters:
        # Node's runtime writes the lines of one event apart by carriage returns, as on AWS.
        console.print(letters[-1].replace("\r", "\n").rstrip(), highlight=False, markup=False)


def print_profile(data):
    """Whom the function calls, how likely, and what it waits for; as soon as all its executions are counted."""
    deadline = time.monotonic() + READY_WITHIN_S
    while run_json(data, "profile", "orders")["invocations"] < AT_ONCE:
        if time.monotonic() > deadline:
            raise SystemExit("the profile of orders is not there")
        time.sleep(0.1)
    command = [FORERUN, "profile", "orders", "--data", str(data)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    console.print(shown.stdout, end="", highlight=False, soft_wrap=True, markup=False)


def say_how_to_go_on(data, server):
    """What to try next on the running server."""
    console.rule("[bold]The server is still running")
    lines = (
        f'eval "$({FORERUN} env --data {data})"       every AWS tool now speaks to it',
        f"{FORERUN} console                 all of it in a browser: traces, profiles, findings",
        f"{FORERUN} traces orders",
        f"{FORERUN} findings",
        f"{FORERUN} logs confirm -f",
        f"{FORERUN} sandboxes",
        f"{FORERUN} doctor                  what this machine can isolate",
        f"kill {server.pid}                     stops it; its data is in {data}",
    )
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def describe(answer):
    """An order's answer in a line."""
    if answer["status"] != "accepted":
        return f"[yellow]rejected[/]: {'; '.join(answer['reasons'])}"
    days = answer["delivery_days"]
    return (
        f"[green]accepted[/] {answer['order']}: {answer['total']} {answer['currency']} with tax "
        f"{answer['tax']}, there in {days} {'day' if days == 1 else 'days'}"
    )


def lambda_client():
    """A boto3 client as any program would make it; only wide enough for many calls at once."""
    return boto3.client(
        "lambda", config=Config(max_pool_connections=64, retries={"total_max_attempts": 1})
    )


def run_json(data, *arguments):
    """Run ``forerun ... --json`` and read what it prints."""
    where = ["--data", str(data)] if data else []
    done = subprocess.run(
        [FORERUN, *arguments, *where, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"forerun {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout)


def exports(data):
    """What ``eval "$(forerun env)"`` would set."""
    done = subprocess.run(
        [FORERUN, "env", "--data", str(data), "--json"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return json.loads(done.stdout)


def clean_environment():
    """Ours without what would point AWS tools elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def free_port():
    """A port that nobody listens on now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
