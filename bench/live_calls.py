"""Recorded calls played live, in less time than they took, and the same calls in the simulator.

Functions are deployed under their places in the recording; each sleeps for as long as its event says. What starts cost and
what sandboxes hold is measured live, and the simulator is given that.
"""

import asyncio
import io
import json
import random
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from forerun.cli.prepared import Prepared
from forerun.prediction.replay import About, ByCalls, CallReplay, Score
from forerun.settings import HostSettings

try:
    from client import BadAnswer, Connection, Target
except ImportError:  # Imported from outside of this folder.
    from bench.client import BadAnswer, Connection, Target

# Beyond the modules: what else an init waits for, from and to seconds; each function has its own.
INIT_S = (0.05, 0.15)
SOURCE = """
import time
import decimal, email.message, sqlite3, xml.dom.minidom
time.sleep({init_s:.3f})
def handler(event, context):
    time.sleep(event["s"])
"""
COLD = ("pool", "zygote", "cold")
AHEAD = ("prewarmed", "preloaded")
# One that was being prepared when its call came is waited for.
WAITED_S = 0.005
AT_ONCE = 512
# Calls begin so long after everything was deployed.
DELAY_S = 2.0
MB_PER_GB = 1024.0

Ask = Callable[[str], Any]


@dataclass
class Played:
    """A call that was made: when, how late, how it was started; ``error`` where it failed."""

    place: int
    at: float
    late_s: float
    start_type: str = ""
    error: str = ""


def name_of(place: int) -> str:
    """The name of the function at this place."""
    return f"replayed-{place}"


def accelerated(recording: ByCalls, factor: float) -> ByCalls:
    """From moment 0 on and in a ``factor``-th of the time, all of one account."""
    first = recording.first_s
    calls = [
        call._replace(begin=(call.begin - first) / factor, seconds=call.seconds / factor)
        for call in recording.calls
    ]
    abouts = [About(name_of(place)) for place in range(len(recording.functions))]
    return ByCalls(abouts, calls, recording.skipped)


def deploy(client: Any, role: str, count: int, seed: int) -> None:
    """So many functions; how long the init of each takes follows from the seed."""
    chance = random.Random(seed)
    for place in range(count):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(
                zipfile.ZipInfo("app.py"), SOURCE.format(init_s=chance.uniform(*INIT_S))
            )
        client.create_function(
            FunctionName=name_of(place),
            Runtime="python3.11",
            Handler="app.handler",
            Role=role,
            Timeout=900,
            MemorySize=128,
            Code={"ZipFile": out.getvalue()},
        )


def play(recording: ByCalls, endpoint: str, environment: dict[str, str]) -> list[Played]:
    """Make each call at its time, signed; ``environment`` has the keys. The first is due in ``DELAY_S``."""
    began = time.time() + DELAY_S
    return asyncio.run(_play(recording, endpoint, environment, began))


async def _play(
    recording: ByCalls, endpoint: str, environment: dict[str, str], began: float
) -> list[Played]:
    threads = ThreadPoolExecutor(AT_ONCE)
    loop = asyncio.get_running_loop()

    async def one(place: int, begin: float, seconds: float) -> Played:
        await asyncio.sleep(began + begin - time.time())
        url = f"{endpoint}/2015-03-31/functions/{name_of(place)}/invocations"
        target = Target(url, json.dumps({"s": round(seconds, 4)}).encode())
        played = Played(place, began + begin, time.time() - began - begin)
        return await loop.run_in_executor(threads, _call, target, environment, played)

    with threads:
        calls = [one(call.place, call.begin, call.seconds) for call in recording.calls]
        return list(await asyncio.gather(*calls))


def _call(target: Target, environment: dict[str, str], played: Played) -> Played:
    try:
        connection = Connection(target.signed(environment), timeout=900.0)
        try:
            connection.once()
            played.start_type = connection.start_type()
        finally:
            connection.close()
    except (BadAnswer, OSError) as error:
        played.error = repr(error)[:300]
    return played


def costs(ask: Ask, functions: Sequence[About], since: float) -> list[About]:
    """The functions with what was measured of their starts and memory: as the policy had it."""
    page = ask(f"/forerun/history?Since={int(since)}&Until={int(time.time()) + 60}")
    known = {each["name"]: each for each in page["functions"]}
    return [
        about._replace(
            memory_mb=known[about.name]["memory_mb"], start_ms=known[about.name]["start_ms"]
        )
        if about.name in known
        else about
        for about in functions
    ]


def records(ask: Ask, name: str, count: int) -> list[dict[str, Any]]:
    """All ``count`` of a function, which are written behind the answers."""
    deadline = time.monotonic() + 20.0
    while True:
        found = ask(f"/forerun/invocations?FunctionName={name}&MaxItems=1000")["Invocations"]
        if len(found) >= min(count, 1000):
            return list(found)
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(found)} of {count} records of {name}")
        time.sleep(0.1)


def waited(record: dict[str, Any]) -> bool:
    """Whether a call waited for a start, its own or one that was under way: the simulator's cold starts are both."""
    timings = record["timings"]
    joined = timings["acquired"] - timings["admitted"] > WAITED_S
    return record["start_type"] in COLD or (record["start_type"] in AHEAD and joined)


def simulated(
    recording: ByCalls, functions: Sequence[About], began: float, host: HostSettings
) -> Score:
    """The same calls in the simulator, by the own policy, at the very moments they were made at."""
    calls = [call._replace(begin=began + call.begin) for call in recording.calls]
    holding = Prepared(functions, host=host)
    return CallReplay(ByCalls(functions, calls, Counter()), holding, count_from=0.0).run()


def compared(
    recording: ByCalls,
    played: Sequence[Played],
    functions: Sequence[About],
    ask: Ask,
    host: HostSettings | None = None,
) -> dict[str, Any]:
    """What happened live and in the simulator, in figures; ask after ``play``. ``host`` has other settings than the usual."""
    began = played[0].at - recording.calls[0].begin
    calls = Counter(call.place for call in recording.calls)
    found = {
        place: records(ask, about.name, calls[place])
        for place, about in enumerate(recording.functions)
    }
    every = [each for function in found.values() for each in function]
    score = simulated(recording, functions, began, host or HostSettings())
    live = {place: sum(map(waited, found[place])) for place in found}
    # One rate for each function, in their order: all of them were called.
    simulation = {place: round(rate * calls[place]) for place, rate in enumerate(score.rates)}
    cold = sum(live.values())
    starts = sorted(about.start_ms for about in functions)
    return {
        "calls": len(recording.calls),
        "functions": len(functions),
        "seconds": round(max(call.begin for call in recording.calls), 1),
        "failed": sum(bool(each.error) for each in played),
        "latest_call_ms": round(1000 * max(each.late_s for each in played), 1),
        "start_ms": round(starts[len(starts) // 2], 1),
        "cold_starts": {"live": cold, "simulated": score.cold},
        "ratio": round(score.cold / cold, 4) if cold else None,
        "start_types": dict(Counter(each["start_type"] for each in every)),
        "hits": sum(each["foresight"] == "hit" for each in every),
        "found_prepared": {
            "live": sum(each["start_type"] in AHEAD and not waited(each) for each in every),
            "simulated": score.ahead,
        },
        "wasted_gb_minutes": {
            "live": round(sum(each["idle_mb_s"] for each in every) / MB_PER_GB / 60.0, 3),
            "simulated": round(score.wasted_mb_minutes / MB_PER_GB, 3),
        },
        "differences": {
            recording.functions[place].name: {
                "calls": calls[place],
                "live": live[place],
                "simulated": simulation[place],
            }
            for place in found
            if live[place] != simulation[place]
        },
    }
