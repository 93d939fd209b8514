"""The console's pages of events in a real browser: sources, schedules, what triggers a function, and what holds of all of them."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.eventful import OK, browsing, furnished, letters, line, visiting
from tests.servers import Server, running
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


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with furnished(tmp_path_factory.mktemp("events")) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as opened:
        yield opened


@pytest.fixture
def visit(shop: Server, browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Visit]]:
    with visiting(browser, shop, tmp_path) as make:
        yield make


def test_sources_show_what_waits_and_where_it_goes(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/events")
    mapping = line(page, "orders").filter(has_text="worker")
    expect(mapping).to_contain_text("enabled")
    lonely = line(page, "lonely")
    expect(lonely.get_by_role("gridcell").nth(3)).to_have_text("7")
    expect(lonely.get_by_role("gridcell").nth(4)).to_have_text(re.compile(r"\d"))
    for name in ("paid", "news", "github", "photos", "inbox"):
        expect(line(page, name)).to_contain_text("worker")
    expect(line(page, "aimless")).to_contain_text("It has no target.")
    facts = page.locator("dl.facts").first
    expect(facts.locator(".fact", has_text="Waiting")).to_contain_text("7")
    page.get_by_role("button", name=re.compile("Queues")).click()
    expect(line(page, "paid")).to_have_count(0)
    expect(lonely).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("nothing-like-it")
    expect(page.locator("body")).to_contain_text("No source fits.")


def test_what_waits_is_shown_as_it_changes(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/events")
    waiting = line(page, "lonely").get_by_role("gridcell").nth(3)
    expect(waiting).to_have_text("7")
    sqs = shop.client("sqs")
    url = sqs.get_queue_url(QueueName="lonely")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="late")
    expect(waiting).to_have_text("8", timeout=10_000)
    [taken] = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=taken["ReceiptHandle"])
    expect(waiting).to_have_text("7", timeout=10_000)


def test_the_next_five_firings_are_in_the_readers_time_zone(
    shop: Server, visit: Callable[..., Visit]
):
    """Half past three in Tokyo is evening before in Berlin."""
    page = visit().to("/events/schedules")
    expect(line(page, "resting")).to_contain_text("disabled")
    expect(line(page, "hourly")).to_contain_text("rule")
    line(page, "nightly").click()
    page.wait_for_url(re.compile("arn="))
    firings = page.get_by_role("list", name="Next firings, Europe/Berlin").get_by_role("listitem")
    expect(firings).to_have_count(5)
    for each in firings.all():
        own, other = re.findall(r"\w{3} \d{4}-\d\d-\d\d (\d\d:\d\d):00", each.inner_text())
        assert own in ("19:30", "20:30")
        assert other == "03:30"
    zones = [each.get_attribute("datetime") for each in firings.locator("time").all()]
    assert all(moment and moment.endswith("T18:30:00.000Z") for moment in zones)
    page.keyboard.press("Escape")
    expect(firings).to_have_count(0)


def test_what_came_of_the_last_firing_is_shown(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/events/schedules")
    done = line(page, "soon").get_by_role("gridcell").nth(6)
    expect(done).to_have_text("ok", timeout=15_000)
    line(page, "soon").click()
    aside = page.get_by_role("region", name="soon")
    expect(aside.locator("dl", has_text="fired")).to_contain_text("ok")
    request = aside.get_by_role("link", name=re.compile("^[0-9a-f-]{36}$")).inner_text()
    assert request in [each["request_id"] for each in shop.invocations("worker")]


def test_a_function_shows_what_triggers_it(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/functions/worker")
    triggers = page.get_by_role("region", name="What triggers it")
    for name in (
        "orders",
        "paid",
        "news",
        "github",
        "photos",
        "inbox",
        "nightly",
        "hourly",
        "failed",
    ):
        expect(triggers.get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(triggers.get_by_role("listitem").filter(has_text="resting")).to_contain_text("off")
    triggers.get_by_role("link", name="failed").click()
    page.wait_for_url("**/metaevents/failed")
    idle = visit().to("/functions/idle").get_by_role("region", name="What triggers it")
    expect(idle).to_contain_text("No event does")


def test_keys_lead_to_the_pages(visit: Callable[..., Visit]):
    page = visit().page
    expect(row(page, "worker")).to_be_visible()
    for key, path in (("e", ""), ("c", "/schedules"), ("v", "/metaevents"), ("x", "/dead-letters")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(re.compile(f"/events{path}$"))
        expect(page.get_by_role("navigation", name="Events")).to_be_visible()


@pytest.mark.parametrize("width", [400, 1000, 1400])
def test_pages_fit_the_screen(visit: Callable[..., Visit], width: int):
    visited = visit(viewport={"width": width, "height": 800})
    for path in ("", "/schedules", "/metaevents", "/metaevents/both", "/dead-letters"):
        page = visited.to(f"/events{path}")
        expect(page.locator("main .sheet").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


# Axe's rules that such pages break most easily: names of controls, unique ids, levels of headings.
FAULTS = """() => {
  const named = (e) => e.getAttribute('aria-label') || e.textContent.trim() || e.title || (e.labels && e.labels.length);
  const controls = [...document.querySelectorAll('button, a[href], input, select, textarea, [role=grid], [role=region], dialog')];
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  return [
    ...controls.filter((e) => !named(e)).map((e) => 'no name: ' + e.outerHTML.slice(0, 120)),
    ...ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => 'twice: ' + id),
    ...(document.querySelectorAll('h1').length === 1 ? [] : ['h1: ' + document.querySelectorAll('h1').length]),
    ...[...document.querySelectorAll('[aria-activedescendant]')].filter((e) => !document.getElementById(e.getAttribute('aria-activedescendant'))).map(() => 'no such line'),
  ];
}"""


def test_controls_have_names(shop: Server, visit: Callable[..., Visit]):
    visited = visit()
    letter = letters(shop)[0]["Id"]
    for path in (
        "",
        "/schedules",
        "/metaevents",
        "/metaevents?new=1",
        "/metaevents/both",
        f"/dead-letters?id={letter}",
    ):
        page = visited.to(f"/events{path}")
        expect(page.locator("main .sheet").first).to_be_visible()
        assert page.evaluate(FAULTS) == [], path


def test_nothing_yet_says_what_to_type(
    tmp_path_factory: pytest.TempPathFactory, visit: Callable[..., Visit]
):
    with running(tmp_path_factory.mktemp("bare") / "data") as server:
        visited = visit(server)
        for path, says in (
            ("", "create-event-source-mapping"),
            ("/schedules", "aws scheduler create-schedule"),
            ("/metaevents", "forerun metaevents put"),
            ("/dead-letters", "forerun dead-letters"),
        ):
            expect(visited.to(f"/events{path}").locator("pre")).to_contain_text(says)


def test_a_thousand_of_each(tmp_path_factory: pytest.TempPathFactory, visit: Callable[..., Visit]):
    """Lists stay quick; only the lines in sight exist."""
    with running(tmp_path_factory.mktemp("many") / "data") as server:
        server.function(OK, name="worker")
        sqs, scheduler = server.client("sqs"), server.client("scheduler")
        role = f"arn:aws:iam::{server.account}:role/test"
        worker = server.lambda_.get_function(FunctionName="worker")["Configuration"]["FunctionArn"]

        def create(n: int) -> None:
            sqs.create_queue(QueueName=f"q-{n:04}")
            scheduler.create_schedule(
                Name=f"s-{n:04}",
                ScheduleExpression="rate(30 days)",
                FlexibleTimeWindow={"Mode": "OFF"},
                Target={"Arn": worker, "RoleArn": role},
            )

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(create, range(1000)))
        visited = visit(server)
        for path, first, last in (("", "q-0000", "q-0999"), ("/schedules", "s-0000", "s-0999")):
            page = visited.to(f"/events{path}")
            expect(line(page, first)).to_be_visible()
            assert page.get_by_role("grid").get_attribute("aria-rowcount") == "1001"
            assert page.locator(".line").count() < 80
            page.get_by_role("grid").focus()
            page.keyboard.press("End")
            expect(line(page, last)).to_be_visible()
