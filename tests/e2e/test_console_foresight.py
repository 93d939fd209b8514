"""The console's page of what is foreseen, in a real browser: forecasts beside calls, pools, and executions that run."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.servers import Server, eventually, running
from tests.visits import CHROMIUM, Visit, row

from forerun.console.pages import FOLDER

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
    pytest.mark.skipif(
        not (FOLDER / "index.html").exists(), reason="the pages are not built: make console"
    ),
]

LEAF = "def handler(event, context):\n    return event\n"
PLANNER = """
import json, time, boto3
lam = boto3.client("lambda")
def handler(event, context):
    time.sleep(event)
    lam.invoke(FunctionName="leaf", Payload=json.dumps(event))["Payload"].read()
"""
# What one planner is likely to call is known after a few of its executions.
SETTINGS = {"FORERUN_FORESIGHT_PRELOAD_SAMPLES": "5"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a function that calls another, which is known of it."""
    with running(tmp_path_factory.mktemp("foreseen") / "data", settings=SETTINGS) as server:
        server.function(LEAF, name="leaf")
        server.function(PLANNER, name="planner", Timeout=30)
        for _ in range(10):
            server.call("planner", 0)
        eventually(lambda: server.platform("/forerun/forecast")["Functions"], within=15)
        yield server


@pytest.fixture(scope="module")
def page(shop: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Signed in, on the page of forecasts; no page may have failed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        visit = Visit(context, shop, tmp_path_factory.mktemp("home"))
        yield visit.page
        browser.close()
        assert visit.troubles == []


@pytest.fixture(autouse=True)
def begin(page: Page, shop: Server) -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(f"{shop.endpoint}/console/foresight")
    expect(row(page, "leaf")).to_be_visible()


def test_it_shows_pools_and_how_right_it_was(page: Page):
    expect(page.get_by_role("region", name="Pools")).to_contain_text(
        re.compile(r"python3\.11.*\d waiting of \d")
    )
    for fact in ("Hits", "Expected and came", "Wasted", "Deferred events"):
        expect(page.locator("dl.facts dt", has_text=fact)).to_be_visible()
    # The first call of each had to wait for a start.
    misses = row(page, "planner").get_by_role("gridcell").nth(4)
    expect(misses).to_have_text("1")


def test_a_function_is_chosen_from_the_list_and_has_its_calls_drawn(page: Page):
    page.keyboard.press("/")
    page.keyboard.type("leaf")
    expect(row(page, "planner")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/foresight\?name=leaf$"))
    outlook = page.get_by_role("region", name="Forecast and calls of leaf")
    drawn = outlook.get_by_role("img", name=re.compile("hits and misses, and what is expected"))
    expect(drawn.locator("canvas")).to_be_visible()
    expect(outlook.locator(".u-legend")).to_contain_text(
        re.compile("expected.*calls.*hits.*misses", re.DOTALL)
    )


def test_a_running_execution_is_shown_with_what_it_may_call(shop: Server, page: Page):
    running_now = page.get_by_role("region", name="Running executions")
    expect(running_now).to_have_count(0)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(shop.call, "planner", 8)
        expect(running_now.get_by_role("link", name="planner")).to_be_visible(timeout=7_000)
        expect(running_now.get_by_role("listitem", name=re.compile(r"^leaf \d+%"))).to_be_visible()
        call.result()
    expect(running_now).to_have_count(0, timeout=10_000)


def test_the_page_of_a_function_has_its_forecast_in_short(page: Page):
    page.keyboard.press("g")
    page.keyboard.press("f")
    row(page, "leaf").get_by_role("link").click()
    brief = page.get_by_role("region", name="Forecast")
    expect(brief).to_contain_text(re.compile("hits.*expected and came.*wasted", re.DOTALL))
    brief.get_by_role("link", name="more").click()
    page.wait_for_url(re.compile(r"/foresight\?name=leaf$"))
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url("**/map")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/foresight")


def test_a_narrow_screen_is_wide_enough(page: Page):
    page.set_viewport_size({"width": 400, "height": 800})
    expect(page.get_by_role("region", name="Pools")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
