"""The jail of a user without privileges: the same confinement, one user on the host for all sandboxes."""

import pytest
from tests.apart import as_ordinary_user

pytestmark = pytest.mark.root  # to become another user

SCENARIO = """
import asyncio, json, os, sys, time
from pathlib import Path
from tests.sandbox.makers import *
from forerun.sandbox import *

HANDLER = '''
import os
def handler(event, context):
    found = {}
    for path in event["paths"]:
        try: found[path] = os.listdir(path) if os.path.isdir(path) else open(path).read()
        except OSError as error: found[path] = error.errno
    found["uid"] = os.getuid()
    found["pids"] = [name for name in os.listdir("/proc") if name.isdigit()]
    found["caps"] = [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")][0]
    open("/tmp/x", "w").write("mine")
    return found
'''

async def main(data):
    pythons = find_pythons([Path("/usr/bin")], None)
    runtime = sorted(pythons)[-1]
    write_code(data / "code" / "a", HANDLER); write_code(data / "code" / "b", HANDLER)
    (data / "own-file").write_text("of the server")
    jails = JailSandboxes(JailSettings(data_dir=data, interpreters=pythons))
    await jails.start()
    try:
        answers = []
        for name in "ab":
            sandbox = await jails.create(runtime)
            spec = make_spec(data / "code" / name, runtime=runtime)
            print(await sandbox.assign(spec, deadline=time.monotonic() + 10), file=sys.stderr)
            paths = ["/.code", "/var/task", "/tmp", str(data / "own-file"), "/etc/shadow"]
            answers.append(json.loads((await sandbox.invoke(make_call({"paths": paths}))).payload))
        await jails.nursery.grow(runtime + "+a", runtime, ["sqlite3"])
        await jails.nursery.grow(runtime + "+b", runtime + "+a", ["asyncio"])
        sandbox = await jails.create(runtime + "+b")
        print(await sandbox.assign(spec, deadline=time.monotonic() + 10), file=sys.stderr)
        answers.append(json.loads((await sandbox.invoke(make_call({"paths": paths}))).payload))
        origin = await jails.create(runtime)
        spec = make_spec(data / "code" / "a", runtime=runtime, snap_start=True)
        print(await jails.snapshot(origin, spec, deadline=time.monotonic() + 10), file=sys.stderr)
        copied = await jails.restore(origin)
        print(await copied.assign(spec, deadline=time.monotonic() + 10), file=sys.stderr)
        answers.append(json.loads((await copied.invoke(make_call({"paths": paths}))).payload))
        print(json.dumps(answers))
    finally:
        await jails.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_confines_as_an_ordinary_user() -> None:
    with as_ordinary_user(SCENARIO) as (data, printed):
        first, second, sprouted, copied = printed
        assert first["pids"] == second["pids"] == sprouted["pids"] == ["1"]
        assert copied["pids"] == ["1", "2"], "its own, and the one that keeps its namespaces"
        for found in (first, second, sprouted, copied):
            assert found["uid"] == 993
            assert int(found["caps"], 16) == 0
            assert found["/.code"] == []
            assert found["/var/task"] == ["app.py"]
            assert found["/tmp"] == []
            assert found[str(data / "own-file")] == 2
            assert found["/etc/shadow"] == 2
        assert list((data / "run").iterdir()) == []
