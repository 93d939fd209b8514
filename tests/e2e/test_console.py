"""The console in a real browser: signed in by a link, against a real server that runs real functions."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright
from tests.servers import Server, eventually, package, running
from tests.visits import CHROMIUM, Visit, link, row

from forerun.console.pages import FOLDER

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
    pytest.mark.skipif(
        not (FOLDER / "index.html").exists(), reason="the pages are not built: make console"
    ),
]

LEAF = "def handler(event, context):\n    print('leaf was given', event)\n    return event\n"
CALLER = """
import json, boto3
lam = boto3.client("lambda")
def handler(event, context):
    print("caller begins")
    answer = lam.invoke(FunctionName="leaf", Payload=json.dumps(event))
    return json.loads(answer["Payload"].read())
"""
FAILING = "def handler(event, context):\n    raise ValueError('no stock')\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a function that calls another, one that fails, and one that nobody calls."""
    with running(tmp_path_factory.mktemp("shop") / "data") as server:
        server.function(LEAF, name="leaf", MemorySize=256, Description="the last of a chain")
        server.function(CALLER, name="caller", Timeout=20)
        server.function(FAILING, name="failing")
        server.function(LEAF, name="idle")
        server.call("caller", {"n": 1})
        server.failure("failing")
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(shop: Server, browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Visit]]:
    """Signs a new browser profile in; no page may have failed, whatever the test was about."""
    made: list[tuple[BrowserContext, Visit]] = []

    def make(server: Server = shop, **options: object) -> Visit:
        context = browser.new_context(viewport={"width": 1400, "height": 900}, **options)
        made.append((context, Visit(context, server, tmp_path)))
        return made[-1][1]

    yield make
    for context, visited in made:
        context.close()
        assert visited.troubles == []


def test_a_link_signs_in_once(shop: Server, browser: Browser, tmp_path: Path):
    url = link(shop, tmp_path)
    first, second = browser.new_context(), browser.new_context()
    try:
        page = first.new_page()
        page.goto(url)
        page.wait_for_url("**/console/")
        expect(row(page, "leaf")).to_be_visible()
        [cookie] = first.cookies()
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        assert page.evaluate("document.cookie") == ""

        other = second.new_page()
        answer = other.goto(url)
        assert answer is not None
        assert answer.status == 401
        expect(other.locator("body")).to_contain_text("used already")
        other.goto(f"{shop.endpoint}/console/")
        expect(other.locator("body")).to_contain_text("forerun console")
        expect(other.locator("body")).not_to_contain_text("leaf")

        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("body")).to_contain_text("You have signed out")
        assert page.goto(f"{shop.endpoint}/console/")
        expect(page.locator("body")).to_contain_text("not signed in")
    finally:
        first.close()
        second.close()


def test_functions_are_listed_with_what_they_do_now(shop: Server, visit: Callable[..., Visit]):
    page = visit().page
    for name in ("leaf", "caller", "failing", "idle"):
        expect(row(page, name)).to_be_visible()
    expect(row(page, "failing")).to_contain_text("100%")
    expect(row(page, "idle").get_by_role("gridcell").nth(1)).to_have_text("\u2013")
    for n in range(6):
        shop.call("idle", n)
    expect(row(page, "idle").get_by_role("gridcell").nth(1)).to_have_text(
        re.compile(r"\d"), timeout=10_000
    )
    before = row(page, "idle").get_by_role("gridcell").nth(1).inner_text()
    for n in range(60):
        shop.call("idle", n)
    expect(row(page, "idle").get_by_role("gridcell").nth(1)).not_to_have_text(
        before, timeout=10_000
    )
    expect(row(page, "idle").get_by_role("img", name=re.compile("starts: .*warm"))).to_be_visible()


def test_a_function_has_its_page(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/functions/caller")
    expect(page.get_by_role("heading", name="caller", exact=True)).to_be_visible()
    expect(page.get_by_text("lambda_function.handler")).to_be_visible()
    page.get_by_role("tab", name="Invocations").click()
    expect(page.locator(".line").first).to_contain_text("ok")
    page.get_by_role("tab", name="Logs").click()
    expect(page.get_by_role("log")).to_contain_text("caller begins")
    page.get_by_role("searchbox").fill("nothing-has-this")
    expect(page.locator("body")).to_contain_text("No line fits")
    page.get_by_role("tab", name="Versions").click()
    expect(page.locator("table").first).to_contain_text("$LATEST")


def test_a_function_shows_whom_it_calls(shop: Server, visit: Callable[..., Visit]):
    chain(shop)
    page = visit().to("/functions/caller")
    expect(page.locator("[data-node='function:leaf']")).to_contain_text("leaf", timeout=15_000)
    callee = page.get_by_role("row", name=re.compile("^leaf"))
    expect(callee).to_contain_text("100%")
    expect(page.get_by_role("region", name="Profile")).to_contain_text("executions seen")
    for chart in ("Duration over time", "Calls, errors and concurrency"):
        expect(page.get_by_role("img", name=re.compile(chart)).locator("canvas")).to_be_visible()
    page.locator("[data-node='function:leaf']").click()
    page.wait_for_url("**/functions/leaf")
    expect(page.get_by_role("region", name="What it calls")).to_contain_text("It calls nothing.")


def test_the_map_shows_who_calls_whom(shop: Server, visit: Callable[..., Visit]):
    chain(shop)
    page = visit().to("/map")
    expect(page.locator("[data-node='function:caller']")).to_be_visible()
    caller, leaf = (
        page.locator(f"[data-node='function:{name}']").bounding_box() for name in ("caller", "leaf")
    )
    assert caller is not None
    assert leaf is not None
    assert caller["x"] + caller["width"] < leaf["x"]
    page.keyboard.press("/")
    page.keyboard.type("failing")
    expect(page.locator("[data-node='function:leaf']")).to_have_class(re.compile("dim"))
    page.locator("[data-node='function:failing']").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/functions/failing")


def test_monitoring_is_switched_from_the_page(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/functions/idle")
    arn = shop.lambda_.get_function(FunctionName="idle")["Configuration"]["FunctionArn"]
    page.get_by_role("radio", name="None").click()
    expect(page.get_by_role("radio", name="None")).to_be_checked()
    tags = lambda: shop.lambda_.list_tags(Resource=arn)["Tags"]  # noqa: E731
    eventually(lambda: tags().get("forerun:monitoring") == "off")
    page.get_by_role("radio", name="Automatic").click()
    eventually(lambda: "forerun:monitoring" not in tags())


def chain(server: Server) -> str:
    """The id of a new trace in which one function called another."""
    reply = server.lambda_.invoke(FunctionName="caller", Payload=b'{"n": 2}')
    path = f"/forerun/trace?TraceId={reply['ResponseMetadata']['RequestId']}"

    def found() -> str:
        answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
        trace = answer.json()
        return str(trace["trace_id"]) if trace.get("executions") == 2 else ""

    return eventually(found, within=15)


def test_a_trace_is_a_waterfall_with_logs_in_place(shop: Server, visit: Callable[..., Visit]):
    trace = chain(shop)
    page = visit().to("/traces")
    expect(row(page, trace)).to_contain_text("leaf")
    row(page, trace).get_by_role("link").click()
    spans = page.get_by_role("treeitem")
    executions = page.locator("[data-kind=execution]")
    expect(executions).to_have_count(2)
    expect(executions.nth(0)).to_contain_text("caller")
    expect(executions.nth(1)).to_contain_text("leaf")
    assert int(executions.nth(1).get_attribute("aria-level") or 0) > 1
    # The callee's bar lies within its caller's.
    bars = [
        box
        for each in page.locator(".bar.execution rect:first-child").all()
        if (box := each.bounding_box())
    ]
    assert len(bars) == 2
    assert bars[0]["x"] <= bars[1]["x"]
    assert bars[1]["x"] + bars[1]["width"] <= bars[0]["x"] + bars[0]["width"] + 1

    page.get_by_role("tree").focus()
    page.keyboard.press("Home")
    expect(spans.nth(0)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.locator(".under")).to_contain_text("caller begins")
    expect(page.locator(".under")).not_to_contain_text("leaf was given")
    whole = spans.count()
    page.keyboard.press("ArrowLeft")
    expect(spans).to_have_count(1)
    page.keyboard.press("ArrowRight")
    expect(spans).to_have_count(whole)
    page.keyboard.press("End")
    expect(spans.nth(whole - 1)).to_have_attribute("aria-selected", "true")
    width = bars[1]["width"]
    page.keyboard.press("+")
    larger = page.locator(".bar.execution rect:first-child").nth(1)
    eventually(lambda: (larger.bounding_box() or {"width": 0})["width"] > width * 1.3)


def test_the_keyboard_is_enough(visit: Callable[..., Visit]):
    page = visit().page
    expect(row(page, "leaf")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("fail")
    expect(row(page, "leaf")).to_have_count(0)
    expect(row(page, "failing")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(row(page, "failing")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    page.wait_for_url("**/functions/failing")
    page.keyboard.press("g")
    page.keyboard.press("h")
    page.wait_for_url("**/host")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.go_back()
    page.wait_for_url("**/functions/failing")


def test_dark_and_light(visit: Callable[..., Visit]):
    paper = "getComputedStyle(document.body).backgroundColor"
    brightness = lambda page: sum(map(int, re.findall(r"\d+", page.evaluate(paper))[:3]))  # noqa: E731
    dark = visit(color_scheme="dark").page
    light = visit(color_scheme="light").page
    assert brightness(dark) < 150
    assert brightness(light) > 650
    expect(row(light, "leaf")).to_be_visible()
    light.keyboard.press("d")
    assert brightness(light) < 150
    light.reload()
    assert brightness(light) < 150


def test_the_live_tail_shows_calls_and_lines(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/live")
    expect(page.get_by_role("img", name="connected", exact=True)).to_be_visible()
    shop.call("leaf", "first-light")
    tail = page.get_by_role("log")
    expect(tail).to_contain_text("leaf was given first-light")
    expect(tail.get_by_role("link", name="leaf").first).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    shop.call("leaf", "second-light")
    expect(page.get_by_role("button", name=re.compile(r"Go on \("))).to_be_visible()
    expect(tail).not_to_contain_text("second-light")
    page.get_by_role("button", name=re.compile("Go on")).click()
    expect(tail).to_contain_text("second-light")


def test_no_page_asks_anybody_else(shop: Server, visit: Callable[..., Visit]):
    visited = visit()
    trace = chain(shop)
    for path in (
        "/",
        "/functions/caller",
        "/traces",
        f"/traces/{trace}",
        "/map",
        "/live",
        "/host",
        "/fleet",
        "/foresight",
    ):
        page = visited.to(path)
        page.wait_for_load_state("load")
        expect(page.locator("main")).not_to_be_empty()
    assert len(visited.asked) > 20
    assert [url for url in visited.asked if not url.startswith(shop.endpoint + "/")] == []


def test_a_thousand_functions(
    tmp_path_factory: pytest.TempPathFactory, visit: Callable[..., Visit]
):
    with running(tmp_path_factory.mktemp("many") / "data") as server:
        code = package({"lambda_function.py": LEAF})
        role = f"arn:aws:iam::{server.account}:role/test"

        def create(n: int) -> None:
            server.lambda_.create_function(
                FunctionName=f"f-{n:04}",
                Runtime="python3.11",
                Handler="lambda_function.handler",
                Role=role,
                Code={"ZipFile": code},
            )

        create(0)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(create, range(1, 1000)))
        visited = visit(server)
        page = visited.page
        expect(row(page, "f-0000")).to_be_visible()
        began = time.monotonic()
        visited.to("/")
        expect(row(page, "f-0000")).to_be_visible()
        assert time.monotonic() - began < 3
        assert page.get_by_role("grid").get_attribute("aria-rowcount") == "1001"
        assert page.locator(".line").count() < 80
        page.get_by_role("grid").focus()
        page.keyboard.press("End")
        expect(row(page, "f-0999")).to_be_visible()
        began = time.monotonic()
        page.get_by_role("searchbox").fill("f-05")
        expect(row(page, "f-0500")).to_be_visible()
        assert page.get_by_role("grid").get_attribute("aria-rowcount") == "101"
        assert time.monotonic() - began < 1.5
        server.call("f-0555", 1)
        expect(row(page, "f-0501")).to_be_visible()
