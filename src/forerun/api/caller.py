"""Who sent a request: what every handler is given beside the request itself."""

import msgspec

from forerun.aio import Receive
from forerun.model import Origin


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated caller. ``principal_arn`` is the user's, root's or assumed role's ARN.

    ``origin`` is the execution that sent it, as far as that is known; ``receive`` tells when the client leaves before it
    is answered. Both of requests that can cause executions only.
    """

    account: str
    region: str
    principal_arn: str
    access_key_id: str
    request_id: str
    source_ip: str = ""
    user_agent: str = ""
    origin: Origin = Origin()
    receive: Receive | None = None
