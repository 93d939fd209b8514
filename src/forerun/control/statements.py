"""Statements of resource policies, put together as AWS does it from the members of AddPermission."""

import re
from collections.abc import Sequence
from typing import Any

from forerun.errors import AlreadyExists, InvalidInput, NotFound

POLICY_BYTES = 20480

_ACCOUNT = re.compile(r"\d{12}")
_PRINCIPAL_ARN = re.compile(r"arn:aws[a-zA-Z-]*:(iam|sts)::(\d{12}|cloudfront):\S+")
_SERVICE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(amazonaws\.com(\.cn)?|amazon\.com)")


def principal_of(text: str) -> str | dict[str, str]:
    """The ``Principal`` element for an account, an ARN, a service, or everybody (``*``)."""
    if text == "*":
        return "*"
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:aws:iam::{text}:root"}
    if _PRINCIPAL_ARN.fullmatch(text):
        return {"AWS": text}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    raise InvalidInput(
        "The provided principal was invalid. Please check the principal and try again."
    )


def require_new_statement(statements: Sequence[dict[str, Any]], statement_id: str) -> None:
    """``AlreadyExists`` when there is a statement with that id."""
    if any(statement["Sid"] == statement_id for statement in statements):
        raise AlreadyExists(
            f"The statement id ({statement_id}) provided already exists. "
            "Please provide a new statement id, or remove the existing statement."
        )


def without_statement(
    statements: Sequence[dict[str, Any]], statement_id: str
) -> list[dict[str, Any]]:
    """The other statements; ``NotFound`` when there is none with that id."""
    left = [statement for statement in statements if statement["Sid"] != statement_id]
    if len(left) == len(statements):
        raise NotFound(f"Statement {statement_id} is not found in resource policy.")
    return left
