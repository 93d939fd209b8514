"""A browser on the console: signed in by a link, and watched for what it asks and complains of."""

import shutil
import subprocess
from pathlib import Path

from playwright.sync_api import BrowserContext, Page
from tests.servers import FORERUN, Server

CHROMIUM = shutil.which("chromium")


def link(server: Server, home: Path) -> str:
    """What ``forerun console`` prints."""
    ran = subprocess.run(
        [FORERUN, "console"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
        env=server.environment(home),
    )
    return ran.stdout.strip()


class Visit:
    """A signed-in page that remembers whom it asked and what it complained of."""

    def __init__(self, context: BrowserContext, server: Server, home: Path) -> None:
        self.base = f"{server.endpoint}/console"
        self.page: Page = context.new_page()
        self.asked: list[str] = []
        self.troubles: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on(
            "console",
            lambda said: (
                self.troubles.append(f"{said.text} {said.location.get('url')}")
                if said.type == "error"
                else None
            ),
        )
        self.page.goto(link(server, home))
        self.page.wait_for_url(f"{self.base}/")

    def to(self, path: str) -> Page:
        self.page.goto(self.base + path)
        return self.page


def row(page: Page, name: str):
    """The line of a list with this id."""
    return page.locator(f".line[data-id='{name}']")
