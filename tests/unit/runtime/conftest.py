import textwrap

import pytest
from tests.unit.runtime.driver import INTERPRETERS, Driver
from tests.unit.runtime.web import served


@pytest.fixture(params=INTERPRETERS, ids=lambda path: path.rpartition("/")[2])
def interpreter(request):
    return request.param


@pytest.fixture
def start(tmp_path):
    """Write ``app.py`` and start a runtime on it; all are ended with the test."""
    drivers = []

    def starter(source, handler="app.handler", *, file="app.py", **options):
        place = tmp_path / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(textwrap.dedent(source))
        driver = Driver(tmp_path, handler, **options)
        drivers.append(driver)
        return driver

    yield starter
    for driver in drivers:
        driver.__exit__()


@pytest.fixture
def web():
    with served() as server:
        yield server
