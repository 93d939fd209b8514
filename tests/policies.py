"""Policies that tests put on what they made."""

import json
from typing import Any


def allow(action: str, resource: str, principal: Any = None, **more: Any) -> str:
    """A policy with one statement; ``principal`` is a service (``events``), several, or what a policy has there.

    Without ``principal`` it is one of an identity; ``more`` is more of the statement, such as ``Condition``.
    """
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    if isinstance(principal, str):
        statement["Principal"] = {"Service": f"{principal}.amazonaws.com"}
    elif isinstance(principal, list):
        statement["Principal"] = {"Service": [f"{each}.amazonaws.com" for each in principal]}
    elif principal is not None:
        statement["Principal"] = principal
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
