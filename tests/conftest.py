"""What all tests share: the server that conformance and bad-input tests speak to, and what to do without root."""

import os
from collections.abc import Iterator

import pytest
from tests.databases import on_postgresql
from tests.postgres import Postgres, running_postgres
from tests.servers import Server, running


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("databases"):
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root: the kernel's namespaces and cgroups are under test")
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it as they found it."""
    with running(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for all tests of this worker; each takes a database of its own with ``fresh``."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A new database of its own, with all schemas and nothing in them."""
    url = postgres.fresh()
    yield url
    postgres.give_back(url)


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where stores are: see ``tests.databases``."""
    alone = request.node.get_closest_marker("postgresql")
    if getattr(request, "param", "sqlite") == "sqlite" and not alone:
        yield
        return
    with on_postgresql(request.getfixturevalue("postgres")):
        yield
