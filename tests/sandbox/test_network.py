"""Open egress, in a network made for the test: no packet leaves the machine."""

import json
from pathlib import Path

import pytest
from tests.apart import in_own_network

from forerun.sandbox.network import addresses, rules

WORLD = """
import asyncio, json, os, signal, socket, subprocess, sys, time
from pathlib import Path
from tests.sandbox.makers import *
from forerun.model.functions import Egress
from forerun.runtime import syscalls
from forerun.sandbox import *

HANDLER = '''
import errno, socket
def handler(event, context):
    found = []
    for address in event:
        try: found.append(socket.create_connection(tuple(address), 1).recv(10).decode())
        except TimeoutError: found.append("timeout")
        except OSError as error: found.append(errno.errorcode[error.errno])
    return found
'''

def ip(text, *inside):
    subprocess.run([*inside, "ip", "-batch", "-"], input=text, text=True, check=True)

def serve(address):
    sock = socket.create_server(address)
    if os.fork() == 0:
        while True:
            peer, _ = sock.accept()
            peer.send(b"hello")
            peer.close()

def until(done):
    for _ in range(1000):
        try:
            if done(): return
        except OSError: pass
        time.sleep(0.01)

async def main(data):
    syscalls.unshare(syscalls.CLONE_NEWNET)
    ip("link set lo up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    told, ready = os.pipe()
    world = os.fork()
    if world == 0:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        syscalls.unshare(syscalls.CLONE_NEWNET)
        ip("link set lo up")
        os.write(ready, b"x")
        until(lambda: "far" in [name for _, name in socket.if_nameindex()])
        ip("addr add 203.0.113.1/24 dev far\\nlink set far up\\n")
        serve(("203.0.113.1", 80))
        signal.pause()
    os.read(told, 1)
    ip(f"link add near type veth peer name far netns {world}\\naddr add 203.0.113.2/24 dev near\\nlink set near up\\nroute add default via 203.0.113.1\\n")
    serve(("0.0.0.0", 81))
    until(lambda: socket.create_connection(("203.0.113.1", 80), 1).close() is None)
    own = own_interpreter()
    jails = JailSandboxes(JailSettings(data_dir=data, interpreters={own.runtime: own}))
    await jails.start()
    try:
        answers = []
        for egress in (Egress.OPEN, Egress.OPEN, Egress.PLATFORM):
            sandbox = await jails.create(RUNTIME)
            spec = make_spec(write_code(data / "code", HANDLER), egress=egress)
            await sandbox.assign(spec, deadline=time.monotonic() + 10)
            targets = [["203.0.113.1", 80], ["203.0.113.2", 81], ["127.0.0.1", 81], ["169.254.169.254", 80]]
            if answers: targets.append(["100.96.0.6", 9])
            answers.append(json.loads((await sandbox.invoke(make_call(targets))).payload))
        print(json.dumps(answers), flush=True)
    finally:
        await jails.close()
    print(subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout, flush=True)

asyncio.run(main(Path(sys.argv[1])))
os.killpg(0, 9)
"""


@pytest.mark.root
def test_open_egress_reaches_the_world_and_not_the_host(tmp_path: Path) -> None:
    printed = in_own_network(WORLD, tmp_path, within=50)
    first, _, rest = printed.partition("\n")
    opened, again, closed = json.loads(first)
    assert opened == ["hello", "timeout", "ECONNREFUSED", "timeout"]
    assert again == [*opened, "timeout"]
    assert closed[0] == "ENETUNREACH"
    assert "forerun" not in rest


def test_every_link_has_addresses_of_its_own() -> None:
    pairs = [addresses(number) for number in range(1000)]
    assert len({address for pair in pairs for address in pair}) == 2000
    assert addresses(1) == ("100.96.0.5", "100.96.0.6")


def test_the_rules_name_only_the_own_interfaces() -> None:
    text = rules("forerun_7", "fr7-")
    assert 'iifname "fr7-*" drop' in text
    assert "169.254.0.0/16" in text
