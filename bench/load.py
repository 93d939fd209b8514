"""Many connections at once: with wrk where it is installed, else with threads of our own, which cost more CPU."""

import json
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass

from client import BadAnswer, Connection, Samples, Target, now

_CHECK = """
local threads = {}
function setup(thread) threads[#threads + 1] = thread end
wrong = 0
function response(status, headers, body)
  if not string.find(body, EXPECT, 1, true) then wrong = wrong + 1 end
end
function others() local n = 0 for _, t in ipairs(threads) do n = n + t:get("wrong") end return n end
"""
_UNCHECKED = """
function others() return 0 end
"""
_DONE = """
done = function(s, l, r)
  io.write(string.format("JSON [%d,%d,%d,%d,%d]\\n", s.requests, s.duration,
    s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout, s.errors.status + others(), l:percentile(99)))
end
"""


@dataclass
class Load:
    """What a load of some seconds gave. ``errors`` counts what was no 2xx answer or lacks ``expect``."""

    engine: str
    rate: float
    p99_ms: float
    answered: int
    errors: int
    note: str = ""


def load(target: Target, connections: int, seconds: int) -> Load:
    """Keep so many connections busy with one request for so long."""
    if shutil.which("wrk"):
        return _wrk(target, connections, seconds)
    return _threads(target, connections, seconds)


def _wrk(target: Target, connections: int, seconds: int) -> Load:
    script = [
        f"wrk.method={json.dumps(target.method)}",
        f"wrk.body={json.dumps(target.body.decode())}",
    ]
    script += [f"wrk.headers[{json.dumps(k)}]={json.dumps(v)}" for k, v in target.headers.items()]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if target.expect:
            script += [f"EXPECT={json.dumps(target.expect.decode())}", _CHECK]
        else:
            script += [_UNCHECKED]
        file.write("\n".join(script) + _DONE)
        file.flush()
        done = subprocess.run(
            [
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{seconds}s",
                "--timeout",
                "30s",
                "-s",
                file.name,
                target.url,
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    found = re.search(r"JSON (\[.*\])", done.stdout)
    if not found:
        return Load("wrk", 0.0, float("nan"), 0, 1, (done.stdout + done.stderr)[-200:])
    requests, duration_us, broken, refused, p99_us = json.loads(found[1])
    good = requests - refused
    return Load("wrk", good / (duration_us / 1e6), p99_us / 1000, good, broken + refused)


def _threads(target: Target, connections: int, seconds: int) -> Load:
    samples = Samples()
    stop = now() + seconds

    def work() -> None:
        connection = Connection(target)
        while now() < stop:
            try:
                samples.seconds.append(connection.once())
            except (BadAnswer, OSError) as error:
                samples.fail(error)
                connection.close()
                connection = Connection(target)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    began = now()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)
    samples.wall = now() - began
    return Load(
        "threads",
        samples.rate,
        samples.ms(0.99),
        len(samples.seconds),
        samples.errors,
        samples.last_error,
    )
