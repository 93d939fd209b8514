"""The console's pages of metaevents and dead letters in a real browser: why nothing happened, and what can be done about it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.eventful import browsing, fail, furnished, letters, line, visiting
from tests.servers import Server, eventually
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


def test_it_says_why_a_rule_does_not_fire(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/events/metaevents")
    expect(row(page, "watchdog")).to_contain_text(re.compile(r"does not hold.*alarm.*in 2[34]"))
    row(page, "both").get_by_role("link", name="both").click()
    page.wait_for_url("**/metaevents/both")
    why = page.get_by_role("region", name="Why it does not fire now")
    expect(why).to_contain_text("The criteria do not hold now.")
    criteria = page.get_by_role("region", name=re.compile("^Criteria")).get_by_role("listitem")
    expect(criteria).to_have_count(5)
    marks = [each.get_by_role("img").get_attribute("aria-label") for each in criteria.all()]
    assert marks == ["does not hold", "holds", "holds", "does not hold", "does not hold"]
    expect(criteria.nth(1)).to_contain_text("count of (execution.ended of hungry)")
    expect(criteria.nth(4)).to_contain_text("no (execution.started of backup) within 1 d")
    seen = page.get_by_role("region", name="Last evaluations").locator("details").first
    seen.locator("summary").click()
    expect(seen.get_by_role("listitem").nth(1)).to_contain_text("over 1 h")


def test_jobs_show_the_chain_that_led_to_them(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/events/metaevents/failed")
    jobs = page.get_by_role("region", name="Jobs and their chains")
    expect(jobs.locator(".chain").first).to_have_text("failed")
    expect(page.get_by_role("region", name="Last evaluations")).to_contain_text("job run")
    page.goto(page.url.replace("/failed", "/after"))
    expect(jobs.locator(".chain").first).to_have_text("failed → after")
    jobs.get_by_role("link", name="failed").first.click()
    page.wait_for_url("**/metaevents/failed")


def test_a_rule_is_made_changed_and_deleted(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/events/metaevents")
    page.get_by_role("link", name="New…").click()
    page.get_by_label("Name").fill("fresh")
    body = page.get_by_label("Criteria and job")
    body.fill('{"When": {"event": "no.such"}, "Job": "alarm"}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("When.event must be one of")
    body.fill('{"When": {')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("no JSON")
    body.fill('{"When": {"event": "execution.throttled"}, "Job": "alarm", "Input": {"a": 1}}')
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/metaevents/fresh")
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Enable")).to_be_visible()
    kept = shop.platform("/forerun/metaevent?Name=fresh")["Metaevent"]
    assert (kept["Enabled"], kept["Input"]) == (False, {"a": 1})
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete fresh?")
    # What Enter does is not what destroys.
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/metaevents")
    expect(row(page, "watchdog")).to_be_visible()
    expect(row(page, "fresh")).to_have_count(0)


def test_a_dead_letter_is_read_and_sent_again_with_more_memory(
    shop: Server, visit: Callable[..., Visit]
):
    fail(shop, "salt")
    page = visit().to("/events/dead-letters")
    salt = line(page, "no room for salt")
    expect(salt).to_contain_text("RetriesExhausted")
    salt.click()
    letter = page.get_by_role("region", name="Dead letter", exact=True)
    expect(letter.get_by_role("region", name="Payload")).to_contain_text('"order": "salt"')
    letter.get_by_role("button", name="Send again").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Memory").fill("64")
    dialog.get_by_role("button", name="Send again").click()
    expect(dialog.get_by_role("alert")).to_contain_text("MemorySize")
    dialog.get_by_label("Memory").fill("1024")
    dialog.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("status")).to_contain_text("1 sent again.")
    expect(salt).to_have_count(0)
    eventually(
        lambda: [
            each
            for each in shop.invocations("hungry")
            if each["status"] == "success" and each["memory_mb"] == 1024
        ]
    )


def test_dead_letters_are_chosen_by_keys_and_deleted_after_a_question(
    shop: Server, visit: Callable[..., Visit]
):
    fail(shop, "oil", "flour")
    kept = len(letters(shop))
    page = visit().to("/events/dead-letters")
    expect(line(page, "no room for flour")).to_be_visible()
    page.get_by_role("grid").focus()
    page.keyboard.press("End")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("x")
    expect(page.get_by_text("2 chosen")).to_be_visible()
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog", name="Delete the 2 chosen dead letters?")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert len(letters(shop)) == kept
    page.get_by_role("button", name="Delete…").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("2 deleted.")
    left = [each["Detail"] for each in letters(shop)]
    assert len(left) == kept - 2
    assert not any("oil" in each or "flour" in each for each in left)


def test_all_that_a_filter_shows_are_meant_by_all(shop: Server, visit: Callable[..., Visit]):
    page = visit().to("/events/dead-letters")
    page.get_by_role("searchbox").fill("worker")
    expect(page.locator("body")).to_contain_text("No dead letter fits.")
    page.get_by_role("searchbox").fill("hungry")
    page.get_by_label("Reason").select_option("RetriesExhausted")
    expect(line(page, "no room for tea")).to_be_visible()
    page.get_by_role("button", name="Delete all").click()
    name = "Delete all dead letters with RetriesExhausted for hungry?"
    dialog = page.get_by_role("dialog", name=name)
    dialog.get_by_role("button", name="Cancel").click()
    expect(line(page, "no room for tea")).to_be_visible()
