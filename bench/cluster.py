"""Measures what a cluster costs and promises, against real clusters on this machine: PostgreSQL, a control plane, hosts, the engine.

    .venv/bin/python bench/cluster.py [--quick] [--only CASE]... [--json] [--out FILE]

Each process has an address of its own on the loopback interface or a port of its own; sandboxes are jailed where that can be, and everything ends by its process id.
"Single" is ``forerun up`` without a cluster: SQLite, the host in the same process. With fewer cores than processes a hop costs
more than on machines of their own: two more processes have to be woken for each call.
"""

import sys
from pathlib import Path

# The cluster is that of the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cases import Case, main
from cluster_calls import compared, cores, remote_host
from cluster_hosts import death, joining, placement, rerun

CASES: dict[str, Case] = {
    "cluster-remote": remote_host,
    "cluster-database": compared,
    "cluster-placement": placement,
    "cluster-death": death,
    "cluster-rerun": rerun,
    "cluster-join": joining,
    "cluster-cores": cores,
}

if __name__ == "__main__":
    sys.exit(main(__doc__, "A cluster: measured here, medians of the quieter rounds", CASES))
