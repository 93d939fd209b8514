"""Many machines: the wire between control planes and agents, who trusts whom, and the distributed engine behind one interface.

Promises: processes of a cluster speak by mutual TLS alone; a host that hears of no control plane for ``cluster.lease_s`` ends its work, and
only after that anybody runs it elsewhere; the engine is in nobody's way when a function is called.
"""

from forerun.cluster.announcing import Announcer, StaticFleet
from forerun.cluster.contract import (
    NOT_IDLE,
    PROTOCOLS,
    SHARE,
    Beat,
    Fleet,
    Links,
    Member,
    RemoteHost,
    Upstream,
)
from forerun.cluster.door import Door, Guest, Handler, serve_http
from forerun.cluster.engine import EngineHere, NodeKeeper, RayFleet, keeper_directory
from forerun.cluster.enrolment import (
    ENROL_ROLES,
    Engine,
    Enrolled,
    Enroller,
    ask_engine,
    enrol,
    renew,
)
from forerun.cluster.fetching import HostTrees
from forerun.cluster.founding import open_trust, take_sealing_key
from forerun.cluster.frames import TreeSource
from forerun.cluster.giving import Giver, Giving
from forerun.cluster.here import Here
from forerun.cluster.identity import Identity, Role
from forerun.cluster.keeper import AgentPlan, Keeper, Kept
from forerun.cluster.knocking import Knocked, Knocker, knock, split_address
from forerun.cluster.links import AgentLinks
from forerun.cluster.membership import Membership
from forerun.cluster.passing import NOT_HERE, Gone, Passed, Passing, from_others, post
from forerun.cluster.pipes import Pipes
from forerun.cluster.register import StoredRegister
from forerun.cluster.remote import RemoteAgent, Terms
from forerun.cluster.serving import Serving, until_quiet
from forerun.cluster.shares import Shares
from forerun.cluster.tls import Peer
from forerun.cluster.tokens import check_name, make_token, parse_token
from forerun.cluster.trees import TreeShelf
from forerun.cluster.trust import (
    Authority,
    authority_hash,
    certificate_span,
    make_authority,
    make_request,
)
from forerun.cluster.watchdog import watch_over

__all__ = [
    "ENROL_ROLES",
    "NOT_HERE",
    "NOT_IDLE",
    "PROTOCOLS",
    "SHARE",
    "AgentLinks",
    "AgentPlan",
    "Announcer",
    "Authority",
    "Beat",
    "Door",
    "Engine",
    "EngineHere",
    "Enrolled",
    "Enroller",
    "Fleet",
    "Giver",
    "Giving",
    "Gone",
    "Guest",
    "Handler",
    "Here",
    "HostTrees",
    "Identity",
    "Keeper",
    "Kept",
    "Knocked",
    "Knocker",
    "Links",
    "Member",
    "Membership",
    "NodeKeeper",
    "Passed",
    "Passing",
    "Peer",
    "Pipes",
    "RayFleet",
    "RemoteAgent",
    "RemoteHost",
    "Role",
    "Serving",
    "Shares",
    "StaticFleet",
    "StoredRegister",
    "Terms",
    "TreeShelf",
    "TreeSource",
    "Upstream",
    "ask_engine",
    "authority_hash",
    "certificate_span",
    "check_name",
    "enrol",
    "from_others",
    "keeper_directory",
    "knock",
    "make_authority",
    "make_request",
    "make_token",
    "open_trust",
    "parse_token",
    "post",
    "renew",
    "serve_http",
    "split_address",
    "take_sealing_key",
    "until_quiet",
    "watch_over",
]
