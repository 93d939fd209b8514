"""Many machines: the wire between control planes and agents, who trusts whom, and the distributed engine behind one interface.

Promises: processes of a cluster speak by mutual TLS alone; a host that hears of no control plane for ``cluster.lease_s`` ends its work, and
only after that anybody runs it elsewhere; the engine is in nobody's way when a function is called.
"""

from forerun.cluster.contract import (
    PROTOCOLS,
    SHARE,
    Beat,
    Fleet,
    Links,
    Member,
    RemoteHost,
    Upstream,
)
from forerun.cluster.identity import Identity, Role
from forerun.cluster.shares import Shares

__all__ = [
    "PROTOCOLS",
    "SHARE",
    "Beat",
    "Fleet",
    "Identity",
    "Links",
    "Member",
    "RemoteHost",
    "Role",
    "Shares",
    "Upstream",
]
