"""What scales provisioned concurrency: scalable targets, their policies and scheduled actions, and what was done."""

from collections.abc import Sequence

import msgspec

from forerun.storage.db import Db, Statement


class ScalableTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a resource (``function:NAME:QUALIFIER``). ``id`` ends its ARN; ``created`` in epoch seconds.

    ``out_suspended``, ``in_suspended`` and ``schedule_suspended`` say what is not done for now.
    """

    account: str
    resource: str
    id: str
    low: int
    high: int
    created: float
    out_suspended: bool = False
    in_suspended: bool = False
    schedule_suspended: bool = False
    tags: dict[str, str] = {}


class ScalingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy of a target: ``kind`` is AWS's PolicyType, ``configuration`` as AWS's members have it."""

    account: str
    resource: str
    policy: str
    id: str
    kind: str
    configuration: dict[str, object]
    created: float


class ScheduledAction(msgspec.Struct, frozen=True, kw_only=True):
    """New bounds at times. ``since`` and ``until`` limit the times; ``low`` and ``high`` are ``None`` to leave them."""

    account: str
    resource: str
    action: str
    id: str
    schedule: str
    zone: str = "UTC"
    since: float | None = None
    until: float | None = None
    low: int | None = None
    high: int | None = None
    created: float


class ScalingActivity(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done, or not: ``status`` is AWS's StatusCode. Times are epoch seconds.

    ``obstacle`` is the code of the reason why a capacity was not changed, empty when it was.
    """

    account: str
    resource: str
    id: str
    begun: float
    ended: float | None = None
    description: str
    cause: str
    status: str
    message: str = ""
    obstacle: str = ""
    low: int = 0
    high: int = 0
    capacity: int = 0


class AutoscalingStore:
    """Targets, policies, actions and activities over ``Db``. All listings are by key, ``after`` excluded."""

    def __init__(self, db: Db) -> None:
        self._db = db

    # Targets

    async def put_target(
        self, target: ScalableTarget, *, activity: ScalingActivity | None = None
    ) -> None:
        """Set it, with what is to be told of that."""
        statements = [
            Statement(
                "INSERT INTO scalable_targets VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (account, resource) DO UPDATE SET id = excluded.id, config = excluded.config",
                (target.account, target.resource, target.id, msgspec.json.encode(target)),
            )
        ]
        if activity is not None:
            statements.append(_activity_put(activity))
        await self._db.write(*statements)

    async def target(self, account: str, resource: str) -> ScalableTarget | None:
        """One target."""
        rows = await self._db.fetch(
            "SELECT config FROM scalable_targets WHERE account = $1 AND resource = $2",
            account,
            resource,
        )
        return _TARGET.decode(rows[0][0]) if rows else None

    async def target_by_id(self, account: str, target_id: str) -> ScalableTarget | None:
        """One target by the end of its ARN."""
        rows = await self._db.fetch(
            "SELECT config FROM scalable_targets WHERE id = $2 AND account = $1", account, target_id
        )
        return _TARGET.decode(rows[0][0]) if rows else None

    async def targets(self, account: str, after: str, limit: int) -> list[ScalableTarget]:
        """Targets of an account."""
        rows = await self._db.fetch(
            "SELECT config FROM scalable_targets WHERE account = $1 AND resource > $2 ORDER BY resource LIMIT $3",
            account,
            after,
            limit,
        )
        return [_TARGET.decode(row[0]) for row in rows]

    async def count_targets(self, account: str) -> int:
        """How many targets an account has."""
        rows = await self._db.fetch(
            "SELECT count(*) FROM scalable_targets WHERE account = $1", account
        )
        return int(rows[0][0])

    async def all_targets(self) -> list[ScalableTarget]:
        """Of all accounts."""
        rows = await self._db.fetch("SELECT config FROM scalable_targets")
        return [_TARGET.decode(row[0]) for row in rows]

    async def remove_target(self, account: str, resource: str) -> bool:
        """Delete it with its policies and actions; false when there was none."""
        [rows] = await self._db.write(
            Statement(
                "DELETE FROM scalable_targets WHERE account = $1 AND resource = $2 RETURNING 1",
                (account, resource),
            )
        )
        return bool(rows)

    # Policies

    async def put_policy(self, policy: ScalingPolicy) -> None:
        """Set it; ``Conflict`` when the target is gone."""
        await self._db.write(
            Statement(
                "INSERT INTO scaling_policies VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (account, resource, policy) DO UPDATE SET config = excluded.config",
                (policy.account, policy.resource, policy.policy, msgspec.json.encode(policy)),
            )
        )

    async def policies_of(self, account: str, resource: str) -> list[ScalingPolicy]:
        """All policies of a target by name."""
        rows = await self._db.fetch(
            "SELECT config FROM scaling_policies WHERE account = $1 AND resource = $2 ORDER BY policy",
            account,
            resource,
        )
        return [_POLICY.decode(row[0]) for row in rows]

    async def policies(
        self, account: str, after: tuple[str, str], limit: int
    ) -> list[ScalingPolicy]:
        """Policies of an account by resource and name."""
        rows = await self._db.fetch(
            "SELECT config FROM scaling_policies WHERE account = $1 AND (resource, policy) > ($2, $3)"
            " ORDER BY resource, policy LIMIT $4",
            account,
            *after,
            limit,
        )
        return [_POLICY.decode(row[0]) for row in rows]

    async def remove_policy(self, account: str, resource: str, policy: str) -> bool:
        """Delete it; false when there was none."""
        [rows] = await self._db.write(
            Statement(
                "DELETE FROM scaling_policies WHERE account = $1 AND resource = $2 AND policy = $3 RETURNING 1",
                (account, resource, policy),
            )
        )
        return bool(rows)

    # Scheduled actions

    async def put_action(self, action: ScheduledAction, *, seen: float) -> None:
        """Set it; its times count from after ``seen``. ``Conflict`` when the target is gone."""
        await self._db.write(
            Statement(
                "INSERT INTO scheduled_actions VALUES ($1, $2, $3, $4, $5)"
                " ON CONFLICT (account, resource, action)"
                " DO UPDATE SET config = excluded.config, seen = excluded.seen",
                (action.account, action.resource, action.action, msgspec.json.encode(action), seen),
            )
        )

    async def actions_of(self, account: str, resource: str) -> list[tuple[ScheduledAction, float]]:
        """All actions of a target by name, with the moment up to which their times were looked at."""
        rows = await self._db.fetch(
            "SELECT config, seen FROM scheduled_actions WHERE account = $1 AND resource = $2 ORDER BY action",
            account,
            resource,
        )
        return [(_ACTION.decode(row[0]), row[1]) for row in rows]

    async def actions(
        self, account: str, after: tuple[str, str], limit: int
    ) -> list[ScheduledAction]:
        """Actions of an account by resource and name."""
        rows = await self._db.fetch(
            "SELECT config FROM scheduled_actions WHERE account = $1 AND (resource, action) > ($2, $3)"
            " ORDER BY resource, action LIMIT $4",
            account,
            *after,
            limit,
        )
        return [_ACTION.decode(row[0]) for row in rows]

    async def remove_action(self, account: str, resource: str, action: str) -> bool:
        """Delete it; false when there was none."""
        [rows] = await self._db.write(
            Statement(
                "DELETE FROM scheduled_actions WHERE account = $1 AND resource = $2 AND action = $3 RETURNING 1",
                (account, resource, action),
            )
        )
        return bool(rows)

    async def fire(
        self,
        target: ScalableTarget,
        actions: Sequence[ScheduledAction],
        seen: float,
        activities: Sequence[ScalingActivity],
    ) -> None:
        """A target's actions were carried out as far as they were due until ``seen``: all of it is kept, or nothing.

        ``Conflict`` when the target is gone.
        """
        await self._db.write(
            Statement(
                "UPDATE scalable_targets SET config = $3 WHERE account = $1 AND resource = $2",
                (target.account, target.resource, msgspec.json.encode(target)),
                1,
            ),
            *(
                Statement(
                    "UPDATE scheduled_actions SET seen = $4 WHERE account = $1 AND resource = $2 AND action = $3",
                    (action.account, action.resource, action.action, seen),
                )
                for action in actions
            ),
            *(_activity_put(activity) for activity in activities),
        )

    # What was done

    async def put_activity(self, activity: ScalingActivity) -> None:
        """Keep it, or what has become of it."""
        await self._db.write(_activity_put(activity))

    async def activities(
        self, account: str, resource: str | None, before: tuple[float, str], limit: int
    ) -> list[ScalingActivity]:
        """The newest first, of one resource if given; those that began before, by begin and id."""
        if resource is None:
            rows = await self._db.fetch(
                "SELECT config FROM scaling_activities WHERE account = $1 AND (begun, id) < ($2, $3)"
                " ORDER BY begun DESC, id DESC LIMIT $4",
                account,
                *before,
                limit,
            )
        else:
            rows = await self._db.fetch(
                "SELECT config FROM scaling_activities WHERE account = $1 AND resource = $5"
                " AND (begun, id) < ($2, $3) ORDER BY begun DESC, id DESC LIMIT $4",
                account,
                *before,
                limit,
                resource,
            )
        return [_ACTIVITY.decode(row[0]) for row in rows]

    async def trim(self, *, before: float) -> None:
        """Remove activities that began earlier."""
        await self._db.write(
            Statement("DELETE FROM scaling_activities WHERE begun < $1", (before,)), durable=False
        )


_TARGET = msgspec.json.Decoder(ScalableTarget)
_POLICY = msgspec.json.Decoder(ScalingPolicy)
_ACTION = msgspec.json.Decoder(ScheduledAction)
_ACTIVITY = msgspec.json.Decoder(ScalingActivity)


def _activity_put(activity: ScalingActivity) -> Statement:
    return Statement(
        "INSERT INTO scaling_activities VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (account, begun, id) DO UPDATE SET config = excluded.config",
        (
            activity.account,
            activity.begun,
            activity.id,
            activity.resource,
            msgspec.json.encode(activity),
        ),
    )
