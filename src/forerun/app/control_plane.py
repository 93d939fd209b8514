"""One control plane of a cluster, in a process without sandboxes: what ``forerun up --cluster`` runs."""

import logging
import os
import secrets
import socket
import sys
from collections.abc import Awaitable, Mapping
from importlib.metadata import version
from typing import Any

from forerun.aio import App, Bounds, HttpServer, SystemClock, TaskOwner
from forerun.api.cluster import ClusterRoutes
from forerun.api.inside import from_inside
from forerun.api.platform import Route
from forerun.api.reception import Reception
from forerun.api.s3.addressing import is_long
from forerun.app.closing import Closing
from forerun.app.cluster_duties import ClusterDuties
from forerun.app.core import Core
from forerun.app.credentials import write_credentials
from forerun.app.engine import with_usable_engine
from forerun.app.entering import Entered, enter
from forerun.app.holder import Holder
from forerun.app.holding import Holding, Stage
from forerun.app.listening import LONG_BODY_BYTES, Listening, endpoint_of
from forerun.app.machines import Machines
from forerun.app.own_host import OwnHost
from forerun.cluster import (
    ENROL_ROLES,
    Door,
    Enroller,
    Guest,
    Knocker,
    StaticFleet,
    StoredRegister,
    TreeShelf,
    from_others,
    serve_http,
)
from forerun.control.duties import Duties
from forerun.control.following import Others
from forerun.errors import AlreadyExists, ForerunError
from forerun.settings import Settings
from forerun.storage.feed import EVERYTHING, Change, Feed
from forerun.storage.identity import AccessKey
from forerun.storage.leases import Lease, LeaseStore
from forerun.storage.machines import ControlPlaneStore, KnownPlane

log = logging.getLogger("forerun")

SEEN_S = 1.0
CERTIFIED_S = 7 * 86_400.0
TELL_S = 0.25
# Of so many times that there may be something to tell, it is asked once what is watched.
ASK_AFTER = 4


class ControlPlane:
    """``start`` then ``close``, once each, as ``Standalone``."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings = with_usable_engine(settings)
        self._listener = listener
        self.endpoint = endpoint_of(listener)
        self._closing = Closing(SystemClock(), settings.server.drain_s)
        self._owner = TaskOwner("control-plane")
        self._me = secrets.token_hex(8)
        self._holding: Holding | None = None
        # Changes of who may do what: that were heard of, and that are known.
        self._heard, self._known = 1, 0

    @property
    def summary(self) -> str:
        """For the ready line: which control plane this is, and where its door is."""
        return f"control plane {self._entered.name}; cluster at {self._entered.advertise}"

    async def start(self) -> None:
        """Enter the cluster, take its duties if nobody has them, listen. Raises ``ForerunError``."""
        settings, closing = self._settings, self._closing
        entered = self._entered = await enter(settings, closing)
        state, self._clock = entered.state, entered.time.clock
        self._planes = ControlPlaneStore(state.db)
        self._feed = Feed(
            settings.cluster.database, state.db, self._clock, name=f"{entered.name} {self._me}"
        )
        self._feed.listen(self._changed)
        await self._announce()
        closing.add(lambda: self._planes.remove(entered.name, self._me))
        knocker = self._knocker = Knocker(entered.identity)
        self._machines = Machines(
            settings,
            state.db,
            state.traces_db,
            knocker,
            address=entered.advertise,
            renew=self._may_renew,
        )
        await self._feed.start()
        closing.add(self._feed.close)
        leases = LeaseStore(state.db)
        holder = self._holder = Holder(
            me=self._me,
            here=self._held,
            leases=leases,
            planes=self._planes,
            knocker=knocker,
            clock=self._clock,
            patience_s=2 * settings.cluster.duty_s,
        )
        closing.add(holder.close)
        self._core = core = Core(
            settings,
            state,
            self._clock,
            base_url=self.endpoint,
            host=self._machines.host,
            runtimes=self._machines.runtimes,
            others=Others(lambda: self._feed.behind, self._agreed),
            ask=holder.ask,
        )
        key = await self._first_key()
        write_credentials(settings.server, self.endpoint, key)
        shelf = TreeShelf(core.tree)
        self._static = StaticFleet(self._clock)
        application = core.application(self._routes(), entered.name)
        reception = Reception(
            application, holder.elsewhere, region=settings.server.region, ready=self._ready
        )
        await self._open_door(entered, shelf, reception)
        await self._machines.start(closing, core, shelf, entered.name)
        await core.start(closing)
        own = self._own = OwnHost(settings, entered, self._planes, self._clock)
        closing.add(lambda: own.close(grace_s=closing.left()))
        await own.start()
        closing.add(self._owner.close)
        self._owner.spawn(self._keep_seen(), name="seen")
        self._owner.spawn(self._keep_telling(), name="tell")
        self._owner.spawn(self._keep_certified(), name="certificate")
        self._duties = Duties(
            leases,
            self._clock,
            owner=self._me,
            ttl_s=settings.cluster.duty_s,
            begin=self._begin_duties,
            give_up=_begin_anew,
        )
        listening = Listening(reception, settings.server, closing)
        self._duties.start()
        await listening.listen(self._listener, self._leave)
        # First of all: what clients ask for meanwhile is passed on to whoever takes them.
        closing.add(lambda: self._duties.close(grace_s=closing.left()))

    async def close(self) -> None:
        """Let another have the duties, accept nothing, finish what runs, leave."""
        await self._closing.close()
        self._listener.close()

    # -- at the start --------------------------------------------------------------------------------------------

    async def _announce(self) -> None:
        entered = self._entered
        plane = KnownPlane(
            entered.name, self._me, entered.advertise, self.endpoint, version("forerun")
        )
        await self._planes.announce(plane, gone_s=self._settings.cluster.lease_s)

    async def _first_key(self) -> AccessKey:
        """The oldest key of a root; of several control planes that start at once one makes it."""
        identities = self._core.services.identities
        try:
            return await identities.start()
        except AlreadyExists:
            return await identities.start()

    async def _open_door(self, entered: Entered, shelf: TreeShelf, reception: App) -> None:
        machines = self._machines
        door = self._door = Door(entered.identity, admits=machines.admits)
        machines.on_expelled = door.expel
        http = HttpServer(
            reception,
            name="cluster-http",
            bounds=Bounds(long_body_bytes=LONG_BODY_BYTES),
            long=is_long,
        )
        passed = from_others(self._holder.passed)

        def app_for(guest: Guest) -> App:
            if guest.role == "control":
                return passed
            return from_inside(reception, self._core.account_of(guest.fields))

        enroller = Enroller(
            entered.authority,
            entered.trust,
            self._clock,
            sealing_key=entered.sealing_key,
            register=StoredRegister(
                entered.trust,
                self._machines.store,
                self._planes,
                self._settings.cluster,
                engine_secret=entered.kept.engine_secret,
            ),
        )
        door.serve("http", serve_http(http, app_for), roles=("host", "control"))
        door.serve("relay", serve_http(http, lambda _: self._holder.own), roles=("control",))
        door.serve("tree", shelf.serve, roles=("host", "control"))
        door.serve("enrol", enroller.handle, roles=ENROL_ROLES)
        door.serve("announce", self._static.handle, roles=("host",))
        await door.listen(entered.door)
        self._closing.add(door.close)
        self._closing.add(lambda: http.close(grace_s=self._closing.left()))

    # -- what changes elsewhere ----------------------------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        topic = change.topic
        if topic == "function":
            account, _, name = change.key.partition(":")
            self._core.services.estate.forget(account, name)
        if topic in ("identity", EVERYTHING):
            self._heard += 1
        if topic in ("hosts", EVERYTHING):
            self._machines.changed()
        if topic == EVERYTHING:
            self._core.services.estate.forget_all()

    async def _agreed(self, account: str, name: str) -> None:
        await self._feed.agreed("function", f"{account}:{name}")

    def _ready(self) -> Awaitable[None] | None:
        return self._refresh() if self._known < self._heard or self._feed.behind else None

    async def _refresh(self) -> None:
        """Know who may do what as it is now. Raises ``StorageFailed``."""
        heard = self._heard
        await self._core.services.identities.refresh()
        self._known = max(self._known, heard)

    def _may_renew(self) -> bool:
        return self._core.claims_outlive()

    async def _keep_seen(self) -> None:
        while True:
            await self._clock.sleep(SEEN_S)
            try:
                if not await self._planes.see(self._entered.name, self._me):
                    await self._announce()
            except ForerunError as error:
                log.warning("this control plane cannot be seen: %s", error.message)

    async def _keep_certified(self) -> None:
        """Show a new certificate long before the last one is over."""
        while True:
            await self._clock.sleep(CERTIFIED_S)
            try:
                identity = self._entered.certified(self._clock.now())
                self._door.renew(identity)
                self._knocker.renew(identity)
            except ForerunError as error:
                log.warning("no new certificate: %s", error.message)

    async def _keep_telling(self) -> None:
        """What calls have told since, to those who look ahead of them."""
        while True:
            for _ in range(ASK_AFTER):
                await self._clock.sleep(TELL_S)
                await self._core.relay.flush()
            await self._core.relay.ask()

    # -- the duties ----------------------------------------------------------------------------------------------

    def _held(self) -> Holding | None:
        return self._holding if self._duties.held else None

    def _begin_duties(self, lease: Lease) -> Holding:
        beside = ClusterDuties(
            self._settings,
            self._entered,
            self._machines,
            self._own.here,
            self._static,
            self._clock,
            tell=self._tell,
        )
        stage = Stage(
            settings=self._settings,
            state=self._entered.state,
            clock=self._clock,
            core=self._core,
            host=self._machines.host,
            base_url=self.endpoint,
            runtimes=self._machines.runtimes,
            settle=self._feed.settle,
            more=beside.part,
            beside=beside.start,
        )
        self._holding = Holding(stage, lease, self._owner)
        return self._holding

    def _leave(self) -> None:
        self._holder.leave()
        if self._holding is not None:
            self._holding.leave()

    # -- what is told --------------------------------------------------------------------------------------------

    def _routes(self) -> Mapping[str, Route]:
        return ClusterRoutes(self._tell, self._operator).routes()

    def _operator(self) -> str:
        accounts = self._core.services.identities.accounts()
        return accounts[0].id if accounts else ""

    async def _tell(self) -> dict[str, Any]:
        holder = await self._duties.holder()
        me = self._entered.name
        return {
            "ControlPlane": me,
            "ControlPlanes": [
                {
                    "Name": plane.name,
                    "Address": plane.api,
                    "Door": plane.door,
                    "Version": plane.version,
                    "Duties": holder is not None and holder.owner == plane.incarnation,
                    "SeenSeconds": round(plane.seen_s, 1),
                }
                for plane in await self._planes.all()
            ],
            "Feed": {
                "Number": self._feed.number,
                "Connected": self._feed.connected,
                "Behind": self._feed.behind,
            },
            "Relay": {"Told": self._core.relay.told, "Dropped": self._core.relay.dropped},
            "Engine": {
                "Kind": self._settings.cluster.engine,
                "Address": self._settings.cluster.engine_address
                or await self._entered.trust.engine(),
            },
            "Hosts": sum(host.alive for host in self._machines.links.hosts.values()),
        }


def _begin_anew() -> None:
    """The duties that were lost cannot be ended: this process is replaced by a new one."""
    log.critical("beginning anew")
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606
