"""IAM: roles, users with their access keys, and managed policies, as deployment tools use them."""

from collections.abc import Awaitable, Callable
from typing import Any

from forerun.api.caller import Caller
from forerun.api.iam.attachments import attachment_routes
from forerun.api.iam.policies import PolicyRoutes
from forerun.api.iam.roles import RoleRoutes
from forerun.api.iam.users import UserRoutes
from forerun.control.identity import Identities
from forerun.control.principals import Principals


def iam_routes(
    identities: Identities, principals: Principals
) -> dict[str, Callable[[Caller, Any], Awaitable[dict[str, Any]]]]:
    """Operation name to handler."""
    return {
        **RoleRoutes(principals).routes(),
        **UserRoutes(identities, principals).routes(),
        **PolicyRoutes(principals).routes(),
        **attachment_routes(principals, "role"),
        **attachment_routes(principals, "user"),
    }


__all__ = ["iam_routes"]
