"""Measures what the platform promises of its main job, against real servers of its own, and says what is met.

    .venv/bin/python bench/main_job.py [--quick] [--only CASE]... [--json] [--out FILE]

Every case starts a server on a free loopback port with a data directory of its own, and ends it by its process id.
"""

import sys

from cases import Case, main
from cold import burst, from_zygote, node_pool_hit, pool_hit
from events import events
from footprint import idle_platform, idle_sandboxes
from heavy import heavy_imports
from newcomer import newcomer
from stored import stored_functions
from warm import throughput, warm

CASES: dict[str, Case] = {
    "warm": warm,
    "load": throughput,
    "cold-pool": pool_hit,
    "cold-zygote": from_zygote,
    "burst": burst,
    "heavy": heavy_imports,
    "cold-node": node_pool_hit,
    "idle-platform": idle_platform,
    "idle-sandboxes": idle_sandboxes,
    "events": events,
    "stored": stored_functions,
    "newcomer": newcomer,
}

if __name__ == "__main__":
    sys.exit(main(__doc__, "The main job: measured here, medians of the quieter rounds", CASES))
