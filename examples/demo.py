"""Shows the platform at work: starts a server, deploys the examples, calls them in every way, prints what happened.

Run it with ``make demo``. The server is stopped at the end unless ``--keep`` is given; its data lies in a fresh folder,
or in ``$DEMO_DIR``.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from demo_server import (
    BIN,
    FORERUN,
    READY_WITHIN_S,
    clean_environment,
    exports,
    run_json,
    start_server,
    stop_server,
)
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ORDERS = HERE / "orders"
INTAKE = HERE / "intake"
AT_ONCE = 16
BY_QUEUE = 3
REPORT_AFTER_S = 3
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
    console.rule("[bold]forerun up")
    server, ready = start_server(data)
    console.print(ready, highlight=False, soft_wrap=True)
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


def show(data, environment, began):
    """Deploy, call, and look."""
    os.environ.update(environment)
    console.rule("[bold]forerun deploy examples/orders/template.yaml")
    outputs = deploy(data, ORDERS, "shop")
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
    console.rule("[bold]Events: orders through a queue, a report by the clock")
    show_events(data, json.loads(book.read_text()))
    console.rule(
        "[bold]forerun profile orders: what was seen of it, without a line of tracing code in it"
    )
    print_profile(data)


def deploy(data, example, stack):
    """Deploy an example's template with runtimes that this server has; the template's outputs."""
    template = example / "template.yaml"
    served = list(run_json(data, "status")["runtimes"])
    given = {}
    for name, prefix, wanted in (
        ("PythonRuntime", "python", "python3.11"),
        ("NodeRuntime", "nodejs", "nodejs20.x"),
    ):
        if f"{name}:" not in template.read_text():
            continue
        fitting = [runtime for runtime in served if runtime.startswith(prefix)]
        if not fitting:
            sys.exit(f"This machine has no {prefix} that the server could run; see: forerun doctor")
        given[name] = wanted if wanted in fitting else fitting[-1]
    parameters = [
        part for key, value in given.items() for part in ("--parameter", f"{key}={value}")
    ]
    result = run_json(data, "deploy", str(template), "--name", stack, *parameters)
    table = Table("resource", "type", "action", box=None, header_style="bold")
    for item in result["resources"]:
        table.add_row(item["logical_id"], item["type"].removeprefix("AWS::"), item["action"])
    console.print(table)
    return result["outputs"]


def show_events(data, order):
    """Orders by queue, a report at a moment; both as their functions tell of them."""
    outputs = deploy(data, INTAKE, "intake")
    moment = report_soon()
    console.print(f'[bold]boto3.client("scheduler").update_schedule(...)[/]  {moment}')
    console.print(f"[bold]aws sqs send-message --queue-url {outputs['Inbox']} ...", soft_wrap=True)
    sqs = boto3.client("sqs")
    for number in range(BY_QUEUE):
        body = json.dumps({**order, "id": f"q-{number:03}"})
        sqs.send_message(QueueUrl=outputs["Inbox"], MessageBody=body)
    for line in log_lines("intake", '"from the queue"', BY_QUEUE):
        console.print(line, highlight=False, markup=False)
    for line in log_lines("report", "report", 1):
        console.print(line, highlight=False, markup=False)
    for command in ("sources", "schedules"):
        console.print(f"[bold]forerun {command}")
        print_command(data, command)


def report_soon():
    """Have the report called once, in a moment, instead of every hour; the expression."""
    scheduler = boto3.client("scheduler")
    current = scheduler.get_schedule(Name="shop-report")
    moment = datetime.now(UTC) + timedelta(seconds=REPORT_AFTER_S)
    expression = f"at({moment:%Y-%m-%dT%H:%M:%S})"
    scheduler.update_schedule(
        Name="shop-report",
        ScheduleExpression=expression,
        FlexibleTimeWindow=current["FlexibleTimeWindow"],
        Target=current["Target"],
    )
    return expression


def log_lines(function, pattern, least):
    """What a function has logged so far, as soon as there is that much of it."""
    deadline = time.monotonic() + READY_WITHIN_S
    logs = boto3.client("logs")
    found = []
    while len(found) < least:
        if time.monotonic() > deadline:
            sys.exit(f"{function} was not called: {found}")
        time.sleep(0.1)
        with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{function}", filterPattern=pattern
            )
            found = [event["message"].strip() for page in pages for event in page["events"]]
    return found


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
    print_command(data, "profile", "orders")


def say_how_to_go_on(data, server):
    """What to try next on the running server."""
    console.rule("[bold]The server is still running")
    lines = (
        f'eval "$({FORERUN} env --data {data})"       every AWS tool now speaks to it',
        f"{FORERUN} console                 all of it in a browser: traces, profiles, findings",
        f"{FORERUN} traces orders",
        f"{FORERUN} findings",
        f"{FORERUN} logs confirm -f",
        f"{FORERUN} sources",
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


def print_command(data, *arguments):
    """What a command prints, as it prints it."""
    command = [FORERUN, *arguments, "--data", str(data)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    console.print(shown.stdout, end="", highlight=False, soft_wrap=True, markup=False)


if __name__ == "__main__":
    sys.exit(main())
