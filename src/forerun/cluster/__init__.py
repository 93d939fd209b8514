"""Many machines: the wire between control planes and agents, who trusts whom, and the distributed engine behind one interface.

Promises: processes of a cluster speak by mutual TLS alone; a host that hears of no control plane for ``cluster.lease_s`` ends its work, and
only after that anybody runs it elsewhere; the engine is in nobody's way when a function is called.
"""

from forerun.cluster.announcing import Announcer, StaticFleet
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
from forerun.cluster.engine import EngineHere, NodeKeeper, RayFleet, end_here, keeper_directory
from forerun.cluster.enrolment import (
    ENROL_ROLES,
    Engine,
    Enrolled,
    Enroller,
    ask_engine,
    enrol,
    renew,
)
from forerun.cluster.founding import open_trust, take_sealing_key
from forerun.cluster.identity import Identity, Role
from forerun.cluster.keeper import AgentPlan, Keeper, Kept
from forerun.cluster.register import StoredRegister
from forerun.cluster.shares import Shares
from forerun.cluster.tokens import check_name, make_token, parse_token
from forerun.cluster.trust import Authority, authority_hash, certificate_span

__all__ = [
    "ENROL_ROLES",
    "PROTOCOLS",
    "SHARE",
    "AgentPlan",
    "Announcer",
    "Authority",
    "Beat",
    "Engine",
    "EngineHere",
    "Enrolled",
    "Enroller",
    "Fleet",
    "Identity",
    "Keeper",
    "Kept",
    "Links",
    "Member",
    "NodeKeeper",
    "RayFleet",
    "RemoteHost",
    "Role",
    "Shares",
    "StaticFleet",
    "StoredRegister",
    "Upstream",
    "ask_engine",
    "authority_hash",
    "certificate_span",
    "check_name",
    "end_here",
    "enrol",
    "keeper_directory",
    "make_token",
    "open_trust",
    "parse_token",
    "renew",
    "take_sealing_key",
]
