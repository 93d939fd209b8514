"""A cluster of one: the host in this process."""

from collections.abc import Sequence

from forerun.host import Host


class LocalCluster:
    """Its one host serves everything."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def host(self) -> Host:
        """Where calls go."""
        return self._host

    def hosts(self) -> Sequence[Host]:
        """All hosts, for listings."""
        return (self._host,)
