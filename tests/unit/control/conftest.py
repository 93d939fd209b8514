"""The services of what users own, over a real database in a temporary directory."""

import pytest
from botocore.exceptions import ClientError
from tests.fakes.clock import FakeClock
from tests.unit.control.owned import Owned, open_estate
from tests.unit.control.scaled import Scaled
from tests.unit.control.watching import Place


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def estate(tmp_path, clock):
    db, estate = await open_estate(tmp_path, clock)
    yield estate
    await db.close()


@pytest.fixture
async def aws(estate):
    owned = Owned(estate)
    yield owned
    owned.boto.close()


@pytest.fixture
async def scaled(estate, aws, clock):
    """A function with version 1 whose host holds at once what it is told to."""
    await aws.create(Publish=True)
    scaled = Scaled(estate, clock)
    await estate.provisioning.start(scaled.require, scaled.standing, lambda *_: None)
    yield scaled
    await estate.provisioning.close()


@pytest.fixture
async def place(tmp_path):
    """Metaevents at work in a directory of their own."""
    place = Place(tmp_path)
    await place.open()
    await place.begin()
    yield place
    await place.close()


@pytest.fixture
def refused():
    """``await refused(call, code, words...)``: the call is refused with that code and a message with these words."""

    async def check(call, code, *words):
        with pytest.raises(ClientError) as caught:
            await call
        error = caught.value.response["Error"]
        assert error["Code"] == code, error
        for word in words:
            assert word in error["Message"], error
        return caught.value.response

    return check
