"""What conformance tests share: error expectations and the venv of real AWS clients."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

CLIENTS = Path(__file__).parents[2] / ".venv-clients"


class Expected:
    """What a refused request answered."""

    message: str = ""
    body: dict[str, object]
    headers: dict[str, str]


@contextmanager
def _refused(code: str, status: int) -> Iterator[Expected]:
    expected = Expected()
    with pytest.raises(ClientError) as caught:
        yield expected
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (
        code,
        status,
    ), response
    expected.message = response["Error"]["Message"]
    expected.body = response
    expected.headers = response["ResponseMetadata"]["HTTPHeaders"]


@pytest.fixture
def refused():
    """``with refused("ResourceNotFoundException", 404) as error: ...``"""
    return _refused


@pytest.fixture(scope="session")
def clients() -> Path:
    """Directory of the commands ``aws``, ``chalice``, ``sam``; made by ``make clients``."""
    assert (CLIENTS / "bin" / "aws").exists(), "run `make clients` first"
    return CLIENTS
