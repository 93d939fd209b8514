"""Variable limits: how much of what a client may run at most its hosts may run now, grown in steps while calls are refused.

A control plane remembers the shares of the clients it serves, and hosts refuse what exceeds the newest share they know of: so what is
remembered may be old without doing harm. It is used for ``valid_s`` after it was last compared with the database, and for the very
start of a host that it was read for: a host that was started again knows of no share.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

from forerun.aio import Clock
from forerun.cluster import Beat, RemoteHost
from forerun.control.fleet.draining import Draining
from forerun.control.fleet.heard import Heard
from forerun.errors import StorageFailed, Throttled
from forerun.model import Phase, Share, ShareBook
from forerun.scheduling import RESERVED, RETRY_AFTER_S, UNRESERVED, Ring, grow, take_back
from forerun.settings import ClusterSettings
from forerun.storage.shares import Draining as Drain
