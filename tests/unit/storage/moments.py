"""A database whose time is what a test says."""

from forerun.storage import Db, Statement

NOW = "(SELECT moment FROM test_time)"


async def with_moments(db: Db) -> Db:
    """The database, with a time of 0 that stands still."""
    await db.write(Statement("CREATE TABLE test_time (moment DOUBLE PRECISION)"))
    await db.write(Statement("INSERT INTO test_time VALUES (0)"))
    return db


async def set_time(db: Db, moment: float) -> None:
    """Seconds, from now on."""
    await db.write(Statement("UPDATE test_time SET moment = $1", (float(moment),)))
