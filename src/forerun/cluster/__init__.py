"""Who the hosts are. Everything above sees one ``Host``, whether one machine stands behind it or many."""

from forerun.cluster.local import LocalCluster
from forerun.host import Host

__all__ = ["Host", "LocalCluster"]
