"""A queue's policy as AddPermission and RemovePermission edit it. Pure."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from forerun.errors import InvalidInput

MOST_STATEMENTS = 20
MOST_ACTIONS = 7

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_ACTIONS = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)


def with_permission(
    policy: str | None, arn: str, label: str, accounts: Sequence[str], actions: Sequence[str]
) -> str:
    """The policy with one more statement; ``InvalidInput`` for a label that is taken, or what cannot be."""
    if not _LABEL.fullmatch(label):
        raise InvalidInput(
            f"Value {label[:256]} for parameter Label is invalid. Reason: Can only include alphanumeric characters, "
            "hyphens, or underscores. 1 to 80 in length."
        )
    document = _read(policy, arn)
    statements = document["Statement"]
    if any(each.get("Sid") == label for each in statements):
        raise InvalidInput(f"Value {label} for parameter Label is invalid. Reason: Already exists.")
    if len(statements) >= MOST_STATEMENTS:
        raise InvalidInput(f"A queue's policy can have at most {MOST_STATEMENTS} statements.")
    for account in accounts:
        if not _ACCOUNT.fullmatch(account):
            raise InvalidInput(
                f"Value {account[:256]} for parameter PrincipalId is invalid. Reason: Unable to verify."
            )
    if not actions or len(actions) > MOST_ACTIONS or not accounts:
        raise InvalidInput(f"Give at least one account and 1 to {MOST_ACTIONS} actions.")
    for action in actions:
        if action not in _ACTIONS:
            raise InvalidInput(
                f"Value SQS:{action[:256]} for parameter ActionName is invalid. Reason: Only the queue owner is allowed "
                "to invoke this action."
            )
    principals = [f"arn:aws:iam::{account}:root" for account in accounts]
    statements.append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": principals[0] if len(principals) == 1 else principals},
            "Action": f"SQS:{actions[0]}"
            if len(actions) == 1
            else [f"SQS:{each}" for each in actions],
            "Resource": arn,
        }
    )
    return msgspec.json.encode(document).decode()


def without_permission(policy: str | None, label: str) -> str:
    """The policy without that statement, empty when none is left; ``InvalidInput`` when there is none of that label."""
    document = _read(policy, "")
    left = [each for each in document["Statement"] if each.get("Sid") != label]
    if len(left) == len(document["Statement"]):
        raise InvalidInput(
            f"Value {label[:256]} for parameter Label is invalid. Reason: can't find label on existing policy."
        )
    return msgspec.json.encode({**document, "Statement": left}).decode() if left else ""


def _read(policy: str | None, arn: str) -> dict[str, Any]:
    if not policy:
        return {"Version": "2008-10-17", "Id": f"{arn}/SQSDefaultPolicy", "Statement": []}
    document: dict[str, Any] = msgspec.json.decode(policy, type=dict[str, Any])
    statements = document.get("Statement", [])
    document["Statement"] = list(statements) if isinstance(statements, list) else [statements]
    return document
