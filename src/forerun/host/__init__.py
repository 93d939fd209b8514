"""The agent of one machine: which sandbox serves a call, which are kept, made and destroyed.

Promises: a sandbox serves one key only and is never handed back; what sandboxes book never exceeds the machine's share;
waits are bounded in number and time; no call is begun twice. Everything decided here is decided by pure code
(``dispatch`` and what it uses); ``HostAgent`` carries it out.
"""

from forerun.host.agent import HostAgent
from forerun.host.compiler import Compiler
from forerun.host.face import Host, HostStats, Run, SandboxInfo, Standing
from forerun.host.line import SPENT
from forerun.host.paths import Paths
from forerun.host.subpools import check as check_pool

__all__ = [
    "SPENT",
    "Compiler",
    "Host",
    "HostAgent",
    "HostStats",
    "Paths",
    "Run",
    "SandboxInfo",
    "Standing",
    "check_pool",
]
