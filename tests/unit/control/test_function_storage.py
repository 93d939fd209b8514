"""What functions leave on the disk: bounded, unreadable, and removed when unneeded."""

import io
import os
import zipfile

import pytest
from tests.unit.control.owned import ACCOUNT, Owned, make_zip, open_estate

from forerun.settings import LimitSettings


async def test_environments_are_not_readable_on_the_disk(aws, tmp_path):
    await aws.create(Environment={"Variables": {"PASSWORD": "correct horse"}})
    for path in tmp_path.glob("forerun.db*"):
        assert b"correct horse" not in path.read_bytes()


@pytest.mark.databases
async def test_an_accounts_code_storage_is_bounded_and_given_back(tmp_path, clock, refused):
    package = make_zip()
    limits = LimitSettings(code_storage_bytes=2 * len(package) + 1)
    db, estate = await open_estate(tmp_path / "small", clock, limits)
    aws = Owned(estate, limits)
    await aws.create("one")
    await aws.create("two")
    await refused(aws.create("three"), "CodeStorageExceededException")
    await refused(
        aws.update_function_code(FunctionName="one", ZipFile=package),
        "CodeStorageExceededException",
    )
    settings = await aws.get_account_settings()
    assert settings["AccountUsage"] == {"TotalCodeSize": 2 * len(package), "FunctionCount": 2}
    await aws.delete_function(FunctionName="one")
    settings = await aws.get_account_settings()
    assert settings["AccountUsage"] == {"TotalCodeSize": len(package), "FunctionCount": 1}
    await aws.create("three")
    await db.close()


async def test_packages_are_bounded_zipped_and_unzipped(tmp_path, clock, refused):
    limits = LimitSettings(code_zipped_bytes=2000, code_unzipped_bytes=10_000)
    db, estate = await open_estate(tmp_path / "small", clock, limits)
    aws = Owned(estate, limits)
    answer = await refused(
        aws.create(Code={"ZipFile": make_zip({"noise": os.urandom(2000)})}),
        "RequestTooLargeException",
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 413
    await refused(
        aws.create(Code={"ZipFile": make_zip({"zeros": bytes(10_001)})}),
        "InvalidParameterValueException",
        "Unzipped size must be smaller than 10000 bytes",
    )
    await aws.create(Code={"ZipFile": make_zip({"zeros": bytes(10_000)})})
    await db.close()
    assert not list((tmp_path / "small" / "trees").glob(".*"))


async def test_an_environment_sealed_with_another_key_is_said_and_can_be_replaced(
    aws, estate, refused
):
    await aws.create(Environment={"Variables": {"KEY": "value"}})
    store = estate.functions._store
    real = store._seal

    class Foreign:
        seal = staticmethod(real.seal)

        def open(self, sealed, context=b""):
            return real.open(sealed, context + b"other")

    store._seal = Foreign()
    shown = await aws.get_function_configuration(FunctionName="fn")
    assert shown["Environment"]["Error"]["ErrorCode"] == "AccessDeniedException"
    await refused(
        aws.update_function_configuration(FunctionName="fn", Timeout=5),
        "InvalidParameterValueException",
        "Environment",
    )
    store._seal = real
    await aws.update_function_configuration(
        FunctionName="fn", Environment={"Variables": {"KEY": "new"}}
    )


def trees(tmp_path):
    found = {path.name for path in (tmp_path / "trees").iterdir()}
    assert {path.stem for path in (tmp_path / "code").iterdir()} <= found
    return found


@pytest.mark.databases
async def test_unneeded_code_is_removed_an_hour_after_its_last_use(aws, estate, clock, tmp_path):
    async def digest(name):
        return (await estate.functions.get(ACCOUNT, name))[1].code_digest

    gone = make_zip({"app.py": "gone = 1"})
    await aws.create("kept")
    for name in ("first", "second"):
        await aws.create(name, Code={"ZipFile": gone})
    kept, shared = await digest("kept"), await digest("first")
    await clock.advance(9000)
    assert await estate.sweep() == 0
    await aws.delete_function(FunctionName="first")
    assert await estate.sweep() == 0
    await clock.advance(3000)
    await aws.update_function_code(FunctionName="second", ZipFile=make_zip({"app.py": "new = 1"}))
    new = await digest("second")
    assert await estate.sweep() == 0
    await clock.advance(3000)
    assert await estate.sweep() == 0
    assert trees(tmp_path) == {kept, shared, new}
    await clock.advance(601)
    assert await estate.sweep() == 1
    assert trees(tmp_path) == {kept, new}
    shown = await aws.get_function(FunctionName="kept")
    assert shown["Code"]["Location"].endswith(kept)
    with zipfile.ZipFile(io.BytesIO(estate.code.blob_path(kept).read_bytes())) as archive:
        assert archive.namelist() == ["app.py"]


@pytest.mark.databases
async def test_code_of_a_creation_that_failed_is_found_after_a_restart(
    aws, estate, clock, tmp_path
):
    await aws.create("kept")
    stored = await estate.code.put(make_zip({"app.py": "orphan = 1"}))
    db, again = await open_estate(tmp_path, clock)
    assert await again.sweep() == 0
    await clock.advance(3601)
    assert await again.sweep() == 1
    assert stored.digest not in trees(tmp_path)
    assert len(trees(tmp_path)) == 1
    await db.close()
