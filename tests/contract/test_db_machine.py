"""Transactions in any order, several at once and some of them impossible, against a dictionary; on each database."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.databases import open_database

from forerun.errors import AlreadyExists, Conflict
from forerun.storage.db import Statement

IDS = st.integers(0, 9)
ADD = "INSERT INTO thing VALUES ($1, $2)"
SET = "UPDATE thing SET n = $2 WHERE id = $1"
GONE = "DELETE FROM thing WHERE id = $1"
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "set", "gone"]), IDS, st.integers(-9, 9)),
    min_size=1,
    max_size=4,
)


def apply(model: dict[int, int], steps) -> dict[int, int] | None:
    """What a transaction makes of it; ``None`` when it is impossible."""
    after = dict(model)
    for what, id_, number in steps:
        if (what == "add") is (id_ in after):
            return None
        if what == "gone":
            del after[id_]
        else:
            after[id_] = number
    return after


def statements(steps) -> list[Statement]:
    return [
        Statement({"add": ADD, "set": SET}[what], (id_, number), expect=1)
        if what != "gone"
        else Statement(GONE, (id_,), expect=1)
        for what, id_, number in steps
    ]


class Transactions(RuleBasedStateMachine):
    """Every answer is that of the model, and so is what is there after it."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "state.db"
        self.model: dict[int, int] = {}
        self.db = self.runner.run(open_database(self.path))
        self.runner.run(
            self.db.write(Statement("CREATE TABLE thing (id BIGINT PRIMARY KEY, n BIGINT)"))
        )

    @rule(steps=STEPS, durable=st.booleans())
    def write(self, steps, durable):
        after = apply(self.model, steps)
        if after is None:
            with pytest.raises((AlreadyExists, Conflict)):
                self.runner.run(self.db.write(*statements(steps), durable=durable))
        else:
            self.runner.run(self.db.write(*statements(steps), durable=durable))
            self.model = after

    @rule(several=st.lists(STEPS, min_size=2, max_size=6))
    def write_at_once(self, several):
        """Whichever order they had, it is one in which the answers are right."""

        async def one(steps) -> bool:
            try:
                await self.db.write(*statements(steps))
            except (AlreadyExists, Conflict):
                return False
            return True

        async def all_of_them() -> list[bool]:
            return await asyncio.gather(*(one(steps) for steps in several))

        # Both take what waits in the order in which it came.
        for steps, done in zip(several, self.runner.run(all_of_them()), strict=True):
            after = apply(self.model, steps)
            assert done is (after is not None)
            self.model = after if after is not None else self.model

    @rule()
    def reopen(self):
        self.runner.run(self.db.close())
        self.db = self.runner.run(open_database(self.path))

    @invariant()
    def nothing_else_is_there(self):
        rows = self.runner.run(self.db.fetch("SELECT id, n FROM thing ORDER BY id"))
        assert dict(rows) == self.model

    def teardown(self):
        self.runner.run(self.db.write(Statement("DROP TABLE thing")))
        self.runner.run(self.db.close())
        self.runner.close()
        self.folder.cleanup()


class OnPostgresql(Transactions):
    """The same there."""


TestOnSqlite = Transactions.TestCase
TestOnPostgresql = OnPostgresql.TestCase
TestOnPostgresql.pytestmark = [pytest.mark.postgresql]
TestOnSqlite.settings = TestOnPostgresql.settings = settings(
    max_examples=10,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
