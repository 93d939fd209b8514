"""The console's page of the fleet in a real browser: many machines, what is wished of them, and where calls ran."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from tests.fleets import Fleet, running_fleet
from tests.servers import running
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

HOSTS = ("h1", "h2")
ECHO = "def handler(event, context):\n    return event\n"
WIDE = {"width": 1400, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("fleet"), planes=("a", "b"), hosts=HOSTS) as fleet:
        fleet.planes[0].function(ECHO, name="echo")
        for plane in fleet.planes:
            assert plane.call("echo", 1) == 1
        yield fleet


@pytest.fixture(scope="module")
def page(
    fleet: Fleet, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """Signed in at the control plane that has not the duties; no page may have failed."""
    context = browser.new_context(viewport=WIDE)
    visit = Visit(context, fleet.planes[-1], tmp_path_factory.mktemp("home"))
    yield visit.page
    context.close()
    # Without TLS browsers ignore one header of pages, and say so.
    assert [each for each in visit.troubles if "Cross-Origin-Opener-Policy" not in each] == []


@pytest.fixture
def begin(page: Page, fleet: Fleet) -> Page:
    page.set_viewport_size(WIDE)
    page.goto(f"{fleet.planes[-1].endpoint}/console/fleet")
    expect(row(page, "h1")).to_be_visible()
    return page


@pytest.mark.root
def test_it_shows_hosts_control_planes_and_limits(begin: Page, fleet: Fleet):
    page = begin
    expect(page.locator("dl.facts .fact").first).to_contain_text("2 of 2")
    for host in HOSTS:
        expect(row(page, host)).to_contain_text("active")
        expect(row(page, host).get_by_role("img", name=re.compile("memory booked"))).to_be_visible()
    planes = page.get_by_role("region", name="Control planes by name")
    expect(planes.get_by_role("row")).to_have_count(3)
    expect(planes.get_by_text("has the duties")).to_have_count(1)
    shared = page.get_by_role("region", name="Limits by function").get_by_role("row")
    expect(shared.filter(has_text="all other functions")).to_contain_text(re.compile(r"h\d 0 of"))
    ran = sum(
        sum(each["Hosts"].values())
        for each in fleet.planes[0].platform("/forerun/placements")["Functions"]
    )
    assert ran == 2
    heat = page.get_by_role("region", name="Calls by function and host")
    echo = heat.get_by_role("row").filter(has_text="echo")
    cells = [each for each in echo.get_by_role("cell").all_inner_texts() if each != "\u2013"]
    assert sum(map(int, cells)) == 2


@pytest.mark.root
def test_a_host_is_cordoned_by_keyboard_after_a_question(begin: Page, fleet: Fleet):
    page = begin
    page.get_by_role("button", name="cordon h1", exact=True).focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Cordon h1?")
    expect(dialog).to_contain_text("no new calls")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(row(page, "h1")).to_contain_text("active")
    page.get_by_role("button", name="cordon h1", exact=True).click()
    dialog.get_by_role("button", name="cordon").click()
    expect(row(page, "h1")).to_contain_text("cordoned", timeout=10_000)
    [told] = [each for each in fleet.told("hosts")["Hosts"] if each["Name"] == "h1"]
    assert told["Phase"] == "cordoned"
    page.get_by_role("button", name="uncordon h1").click()
    page.get_by_role("dialog").get_by_role("button", name="uncordon").click()
    expect(row(page, "h1")).to_contain_text("active", timeout=10_000)


@pytest.mark.root
def test_a_narrow_screen_is_wide_enough(begin: Page):
    begin.set_viewport_size({"width": 400, "height": 800})
    expect(begin.get_by_role("region", name="Hosts")).to_be_visible()
    assert begin.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_one_machine_is_a_fleet_of_one(browser: Browser, tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("one") / "data") as server:
        context = browser.new_context(viewport=WIDE)
        visit = Visit(context, server, tmp_path_factory.mktemp("home"))
        page = visit.page
        expect(page.get_by_role("link", name="Fleet")).to_be_visible()
        page.keyboard.press("g")
        page.keyboard.press("a")
        page.wait_for_url("**/fleet")
        expect(page.locator("main")).to_contain_text("There is one machine")
        expect(page.get_by_role("grid", name="Hosts").locator(".line")).to_have_count(1)
        expect(page.get_by_role("button", name=re.compile("drain"))).to_have_count(0)
        expect(page.get_by_role("region", name="Limits by function")).to_contain_text("1,000")
        assert visit.troubles == []
        # Whoever is not the operator is told so, and sees what is its own.
        page.route("**/perhaps/hosts", _refuse)
        page.reload()
        expect(page.locator("main")).to_contain_text("the operator's account")
        expect(page.get_by_role("region", name="Limits by function")).to_be_visible()
        expect(page.get_by_role("grid", name="Hosts")).to_have_count(0)
        context.close()


def _refuse(route: Route) -> None:
    route.fulfill(status=403, json={"message": "Hosts belong to the operator's account"})
