"""Who is in the cluster, read from the database for those who come."""

from forerun.cluster.enrolment import Engine
from forerun.cluster.identity import Role
from forerun.errors import NotFound
from forerun.model import Phase
from forerun.settings import ClusterSettings
from forerun.storage.machines import ControlPlaneStore, HostStore
from forerun.storage.trust import TrustStore


class StoredRegister:
    """A ``Register`` over the stores. ``engine_secret`` is what the engine's processes know each other by."""

    def __init__(
        self,
        trust: TrustStore,
        hosts: HostStore,
        planes: ControlPlaneStore,
        settings: ClusterSettings,
        *,
        engine_secret: str,
    ) -> None:
        self._trust = trust
        self._hosts = hosts
        self._planes = planes
        self._settings = settings
        self._secret = engine_secret

    async def engine(self) -> Engine:
        """As the holder of the duties wrote it down, or as the settings say."""
        if self._settings.engine == "none":
            return Engine()
        if address := self._settings.engine_address:
            return Engine(kind=self._settings.engine, address=address, foreign=True)
        address = await self._trust.engine()
        return Engine(kind=self._settings.engine, address=address, secret=self._secret)

    async def doors(self) -> list[str]:
        """Those that were seen of late; all of them when none was."""
        planes = await self._planes.all()
        there = [each.door for each in planes if each.seen_s <= self._settings.lease_s]
        return there or [each.door for each in planes]

    async def taken(self, name: str, role: Role) -> bool:
        """Whether it was seen within the time after which nobody works on, or was expelled."""
        if role == "control":
            return any(
                each.name == name and each.seen_s <= self._settings.lease_s
                for each in await self._planes.all()
            )
        try:
            known = await self._hosts.get(name)
        except NotFound:
            return False
        return known.info.phase is Phase.EXPELLED or known.seen_s <= self._settings.lease_s
