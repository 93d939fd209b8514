"""A cluster under faults, and a check of what its clients and its functions have seen.

    .venv/bin/python bench/jepsen.py [--minutes 30] [--seed N] [--keep FILE] [--quiet]
    .venv/bin/python bench/jepsen.py --check FILE

Two control planes, four hosts and PostgreSQL, each on a machine of its own (network namespaces: root). Clients work through both control
planes while machines are cut off, killed and paused, clocks are set, and the database goes; in the end all is healed, and what was
accepted has to be done. Exits with 1, and shows what of the history is wrong, if the check finds anything. The seed gives the
order of faults, not what comes of them. A pause is one of the platform's own processes: were a whole machine paused with what it
runs, its functions would go on for a moment afterwards.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

# The cluster is that of the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jepsen_faults import Nemesis, Skews
from jepsen_history import Finding, History, check, load, runs_of, save, summary
from jepsen_work import ACCOUNT, CLIENT_S, WAIT_S, Workers, deploy, new_history, settled
from tests.fleets import Fleet, running_fleet

PLANES, HOSTS = ("a", "b"), ("h1", "h2", "h3", "h4")
# After the last fault, accepted events have so long.
PATIENCE_S = 120.0
SETTINGS = {
    "FORERUN_LIMITS_ACCOUNT_CONCURRENCY": str(ACCOUNT),
    "FORERUN_LIMITS_UNRESERVED_CONCURRENCY": "1",
    "FORERUN_CLUSTER_SHARE": "2",
    "FORERUN_CLUSTER_SHRINK_S": "4",
    "FORERUN_HOST_WAIT_S": str(WAIT_S),
    "FORERUN_HOST_POOL_MIN": "1",
    "FORERUN_HOST_MEMORY_MB": "4000",
}


def run(folder: Path, seconds: float, seed: int, *, told: bool) -> History:
    """What happened in so many seconds of faults."""
    history = new_history()
    skews = Skews(folder / "clocks")
    own = {name: skews.environment(name) for name in (*PLANES, *HOSTS)}
    with running_fleet(folder, planes=PLANES, hosts=HOSTS, own=own, **SETTINGS) as fleet:
        ledger = deploy(fleet.first, folder)
        clients = {
            plane.data.name.removeprefix("plane-"): plane.client("lambda", timeout=CLIENT_S)
            for plane in fleet.planes
        }
        workers = Workers(clients, history, seed)
        workers.start()
        nemesis = Nemesis(
            fleet, skews, history, random.Random(seed), time.monotonic() + seconds, told=told
        )
        try:
            nemesis.run()
        finally:
            fleet.heal()
            workers.stop()
        _await_rest(fleet, history, ledger)
        assert not workers.errors, workers.errors
        history.ran = runs_of(ledger.read_text().splitlines())
    return history


def _await_rest(fleet: Fleet, history: History, ledger: Path) -> None:
    """Until all accepted events have run, or nothing has changed for too long."""
    before, since = 0, time.monotonic()
    while (left := len(settled(history, ledger))) and time.monotonic() - since < PATIENCE_S:
        if left != before:
            before, since = left, time.monotonic()
        time.sleep(0.5)


def show(findings: list[Finding], history: History) -> None:
    """What is wrong, with the faults of that time."""
    for finding in findings[:20]:
        print(f"{finding.kind}: {finding.text}")
        for part in finding.part:
            print(f"    {part}")
        if finding.part:
            at = min(part.began for part in finding.part)
            for fault in history.faults:
                if fault.began - 5 < at < fault.ended + 30:
                    print(f"    during {fault}")
    if len(findings) > 20:
        print(f"and {len(findings) - 20} more")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="write the history to this file")
    parser.add_argument("--check", type=Path, help="only check the history in this file")
    parser.add_argument("--quiet", action="store_true", help="do not tell of each fault")
    asked = parser.parse_args()
    if asked.check:
        history = load(asked.check)
    else:
        with tempfile.TemporaryDirectory(prefix="forerun-jepsen-") as folder:
            history = run(Path(folder), asked.minutes * 60, asked.seed, told=not asked.quiet)
        if asked.keep:
            save(history, asked.keep)
    findings = check(history)
    show(findings, history)
    print(summary(history))
    print("not accepted" if findings else "accepted")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
