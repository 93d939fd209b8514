"""Event buses, their rules and the rules' targets."""

from collections.abc import Sequence
from typing import Any, LiteralString

import msgspec

from forerun.storage.db import Db, Row, Statement

DEFAULT = "default"


class EventBus(msgspec.Struct, frozen=True, kw_only=True):
    """A bus. ``policy`` is a document as JSON, empty for none; times are epoch seconds."""

    account: str
    name: str
    description: str = ""
    policy: str = ""
    dead_letter: str = ""
    key: str = ""
    tags: dict[str, str] = {}
    created: float
    modified: float


class RuleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asked of a rule. ``state`` is AWS's; a rate counts from ``anchor``, epoch seconds."""

    pattern: str = ""
    schedule: str = ""
    state: str = "ENABLED"
    description: str = ""
    role: str = ""
    managed_by: str = ""
    tags: dict[str, str] = {}
    anchor: float = 0.0

    @property
    def enabled(self) -> bool:
        """Whether it acts."""
        return self.state != "DISABLED"


class StoredRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. ``due`` is its next firing by the clock, ``last`` the time of the last one and ``last_at`` when that was."""

    id: int = 0
    revision: int = 0
    account: str
    bus: str
    name: str
    config: RuleConfig
    due: float | None = None
    last: float | None = None
    last_at: float | None = None


class StoredTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a rule; ``given`` is AWS's Target as it was given, without what was left out."""

    id: str
    arn: str
    given: dict[str, Any]


_RULE: LiteralString = (
    "SELECT id, revision, account, bus, name, config, due, last, last_at FROM event_rules"
)


class BusStore:
    """Buses, rules and targets over ``Db``. Listings are in the order of names, ``after`` excluded."""

    def __init__(self, db: Db) -> None:
        self._db = db

    # Buses

    async def add_bus(self, bus: EventBus, *, most: int) -> None:
        """Raises ``AlreadyExists``; ``Conflict`` when the account has ``most`` of them."""
        await self._db.write(
            Statement(
                "INSERT INTO event_buses SELECT $1, $2, $3 WHERE"
                " (SELECT count(*) FROM event_buses WHERE account = $1) < $4",
                (bus.account, bus.name, msgspec.json.encode(bus), most),
                1,
            )
        )

    async def save_bus(self, bus: EventBus) -> None:
        """Replace one, or the account's default bus for the first time; ``Conflict`` when it is gone."""
        if bus.name == DEFAULT:
            statement = Statement(
                "INSERT INTO event_buses VALUES ($1, $2, $3)"
                " ON CONFLICT (account, name) DO UPDATE SET config = excluded.config",
                (bus.account, bus.name, msgspec.json.encode(bus)),
            )
        else:
            statement = Statement(
                "UPDATE event_buses SET config = $3 WHERE account = $1 AND name = $2",
                (bus.account, bus.name, msgspec.json.encode(bus)),
                1,
            )
        await self._db.write(statement)

    async def bus(self, account: str, name: str) -> EventBus | None:
        """One bus, if there is a row of it."""
        rows = await self._db.fetch(
            "SELECT config FROM event_buses WHERE account = $1 AND name = $2", account, name
        )
        return _BUS.decode(rows[0][0]) if rows else None

    async def buses(self, account: str, prefix: str, after: str, limit: int) -> list[EventBus]:
        """Buses of an account that there are rows of."""
        rows = await self._db.fetch(
            "SELECT config FROM event_buses WHERE account = $1 AND name > $2"
            " AND substr(name, 1, length($3)) = $3 ORDER BY name LIMIT $4",
            account,
            after,
            prefix,
            limit,
        )
        return [_BUS.decode(row[0]) for row in rows]

    async def remove_bus(self, account: str, name: str) -> bool:
        """Delete it; false when it has rules."""
        rows = await self._db.write(
            Statement(
                "DELETE FROM event_buses WHERE account = $1 AND name = $2 AND NOT EXISTS"
                " (SELECT 1 FROM event_rules WHERE account = $1 AND bus = $2)",
                (account, name),
            ),
            Statement(
                "SELECT 1 FROM event_buses WHERE account = $1 AND name = $2", (account, name)
            ),
        )
        return not rows[1]

    # Rules

    async def add_rule(self, rule: StoredRule, *, most: int) -> int:
        """The id it got. ``AlreadyExists``; ``Conflict`` when its bus is gone or has ``most`` rules."""
        rows = await self._db.write(
            Statement(
                "INSERT INTO event_rules (account, bus, name, revision, schedule, due, last, last_at, config)"
                " SELECT $1, $2, $3, 0, $4, $5, $6, $7, $8"
                " WHERE ($2 = 'default' OR EXISTS (SELECT 1 FROM event_buses WHERE account = $1 AND name = $2))"
                " AND (SELECT count(*) FROM event_rules WHERE account = $1 AND bus = $2) < $9 RETURNING id",
                (*_encoded(rule), most),
                1,
            )
        )
        return int(rows[0][0][0])

    async def save_rule(self, rule: StoredRule) -> None:
        """Replace one; ``Conflict`` when it was changed since it was read, or is gone."""
        await self._db.write(
            Statement(
                "UPDATE event_rules SET schedule = $4, due = $5, last = $6, last_at = $7, config = $8,"
                " revision = revision + 1 WHERE account = $1 AND bus = $2 AND name = $3 AND id = $9"
                " AND revision = $10",
                (*_encoded(rule), rule.id, rule.revision),
                1,
            )
        )

    async def fired(self, before: StoredRule, due: float | None, last: float, at: float) -> bool:
        """Keep that it fired for the moment ``last``; false when it was changed since it was read."""
        [rows] = await self._db.write(
            Statement(
                "UPDATE event_rules SET due = $3, last = $4, last_at = $5, revision = revision + 1"
                " WHERE id = $1 AND revision = $2 RETURNING 1",
                (before.id, before.revision, due, last, at),
            )
        )
        return bool(rows)

    async def rule(self, account: str, bus: str, name: str) -> StoredRule | None:
        """One rule by name."""
        rows = await self._db.fetch(
            _RULE + " WHERE account = $1 AND bus = $2 AND name = $3", account, bus, name
        )
        return _rule(rows[0]) if rows else None

    async def rule_by_id(self, rule_id: int) -> StoredRule | None:
        """One rule."""
        rows = await self._db.fetch(_RULE + " WHERE id = $1", rule_id)
        return _rule(rows[0]) if rows else None

    async def rules(
        self, account: str, bus: str, prefix: str, after: str, limit: int
    ) -> list[StoredRule]:
        """Rules of a bus."""
        rows = await self._db.fetch(
            _RULE + " WHERE account = $1 AND bus = $2 AND name > $3"
            " AND substr(name, 1, length($4)) = $4 ORDER BY name LIMIT $5",
            account,
            bus,
            after,
            prefix,
            limit,
        )
        return [_rule(row) for row in rows]

    async def scheduled(self, account: str) -> list[StoredRule]:
        """Rules of an account that have a schedule."""
        rows = await self._db.fetch(
            _RULE + " WHERE account = $1 AND schedule != '' ORDER BY bus, name", account
        )
        return [_rule(row) for row in rows]

    async def with_targets(
        self, account: str, limit: int
    ) -> list[tuple[StoredRule, StoredTarget | None]]:
        """Rules of an account by bus and name, once for each target; without one, once."""
        rows = await self._db.fetch(
            "SELECT r.id, r.revision, r.account, r.bus, r.name, r.config, r.due, r.last, r.last_at, t.config"
            " FROM event_rules r LEFT JOIN event_targets t ON t.rule = r.id"
            " WHERE r.account = $1 ORDER BY r.bus, r.name, t.id LIMIT $2",
            account,
            limit,
        )
        return [
            (_rule(row[:-1]), _TARGET.decode(row[-1]) if row[-1] is not None else None)
            for row in rows
        ]

    async def pending(self, after: int, limit: int) -> list[tuple[int, float]]:
        """Ids and moments of all rules that are due some time, by id."""
        rows = await self._db.fetch(
            "SELECT id, due FROM event_rules WHERE id > $1 AND due IS NOT NULL ORDER BY id LIMIT $2",
            after,
            limit,
        )
        return [(rule_id, due) for rule_id, due in rows]

    async def remove_rule(self, rule_id: int) -> bool:
        """Delete it; false when it has targets."""
        rows = await self._db.write(
            Statement(
                "DELETE FROM event_rules WHERE id = $1 AND NOT EXISTS"
                " (SELECT 1 FROM event_targets WHERE rule = $1)",
                (rule_id,),
            ),
            Statement("SELECT 1 FROM event_rules WHERE id = $1", (rule_id,)),
        )
        return not rows[1]

    # Targets

    async def put_targets(
        self, rule_id: int, targets: Sequence[StoredTarget], *, most: int
    ) -> bool:
        """Set them; false, and none is, when the rule would have more than ``most``. ``Conflict`` when it is gone."""
        ids = msgspec.json.encode([target.id for target in targets]).decode()
        rows = await self._db.write(
            Statement("UPDATE event_rules SET id = id WHERE id = $1", (rule_id,), 1),
            *(
                Statement(
                    "INSERT INTO event_targets SELECT $1, $2, $3, $4 WHERE"
                    " (SELECT count(*) FROM event_targets WHERE rule = $1"
                    " AND id NOT IN (SELECT value FROM json_each($5))) + $6 <= $7"
                    " ON CONFLICT (rule, id) DO UPDATE SET arn = excluded.arn, config = excluded.config"
                    " RETURNING 1",
                    (
                        rule_id,
                        target.id,
                        target.arn,
                        msgspec.json.encode(target),
                        ids,
                        len(targets),
                        most,
                    ),
                )
                for target in targets
            ),
        )
        return all(rows[1:])

    async def remove_targets(self, rule_id: int, ids: Sequence[str]) -> set[str]:
        """Those that there were."""
        rows = await self._db.write(
            *(
                Statement(
                    "DELETE FROM event_targets WHERE rule = $1 AND id = $2 RETURNING id",
                    (rule_id, target_id),
                )
                for target_id in ids
            )
        )
        return {row[0] for each in rows for row in each}

    async def targets(self, rule_id: int, after: str = "", limit: int = 100) -> list[StoredTarget]:
        """Targets of a rule, by id."""
        rows = await self._db.fetch(
            "SELECT config FROM event_targets WHERE rule = $1 AND id > $2 ORDER BY id LIMIT $3",
            rule_id,
            after,
            limit,
        )
        return [_TARGET.decode(row[0]) for row in rows]

    async def targets_of_bus(self, account: str, bus: str) -> list[tuple[int, StoredTarget]]:
        """All targets of a bus's rules, with the rule's id."""
        rows = await self._db.fetch(
            "SELECT t.rule, t.config FROM event_rules r JOIN event_targets t ON t.rule = r.id"
            " WHERE r.account = $1 AND r.bus = $2 ORDER BY t.rule, t.id",
            account,
            bus,
        )
        return [(rule_id, _TARGET.decode(config)) for rule_id, config in rows]

    async def rules_by_target(
        self, account: str, bus: str, arn: str, after: str, limit: int
    ) -> list[str]:
        """Names of the bus's rules that have a target."""
        rows = await self._db.fetch(
            "SELECT DISTINCT r.name FROM event_targets t JOIN event_rules r ON r.id = t.rule"
            " WHERE t.arn = $3 AND r.account = $1 AND r.bus = $2 AND r.name > $4 ORDER BY r.name LIMIT $5",
            account,
            bus,
            arn,
            after,
            limit,
        )
        return [row[0] for row in rows]


_BUS = msgspec.json.Decoder(EventBus)
_CONFIG = msgspec.json.Decoder(RuleConfig)
_TARGET = msgspec.json.Decoder(StoredTarget)


def _encoded(rule: StoredRule) -> tuple[Any, ...]:
    return (
        rule.account,
        rule.bus,
        rule.name,
        rule.config.schedule,
        rule.due,
        rule.last,
        rule.last_at,
        msgspec.json.encode(rule.config),
    )


def _rule(row: Row) -> StoredRule:
    rule_id, revision, account, bus, name, config, due, last, last_at = row
    return StoredRule(
        id=rule_id,
        revision=revision,
        account=account,
        bus=bus,
        name=name,
        config=_CONFIG.decode(config),
        due=due,
        last=last,
        last_at=last_at,
    )
