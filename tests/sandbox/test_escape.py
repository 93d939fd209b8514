"""From inside a sandbox nothing of the host, and nothing of another function, can be read, reached or changed.

Each attempt is code that runs as a handler, as its author could have written it, and reports what it got.
"""

import json
import os
import socket
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.conftest import Jail
from tests.sandbox.makers import RUNTIME, make_call, make_spec, write_code

from forerun.sandbox import JailSandboxes

pytestmark = pytest.mark.root

SECRET = "the-secret-of-another-account"


@pytest.fixture(params=["started", "sprouted"])
async def pool(request: pytest.FixtureRequest, jails: JailSandboxes) -> str:
    """Sandboxes are forked from a zygote that was started from its interpreter, or from a sprout of a sprout."""
    if request.param == "started":
        return RUNTIME
    await jails.nursery.grow(f"{RUNTIME}+a", RUNTIME, ["sqlite3"])
    await jails.nursery.grow(f"{RUNTIME}+b", f"{RUNTIME}+a", ["asyncio"])
    return f"{RUNTIME}+b"


PRELUDE = """
import ctypes, errno, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)

def attempt(action, *arguments):
    try:
        return repr(action(*arguments))
    except OSError as error:
        return errno.errorcode[error.errno]

def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""

VICTIM = (
    "import os, socket\n"
    f"held = {SECRET!r} * 3\n"
    "def handler(event, context):\n"
    "    open('/tmp/secret', 'w').write(held)\n"
    "    os.chmod('/tmp/secret', 0o666)\n"
    "    return 'ok'\n"
)


async def run(jail: Jail, body: str, **changes: Any) -> Any:
    source = (
        PRELUDE + "def handler(event, context):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    )
    sandbox = await jail(source, **changes)
    outcome = await sandbox.invoke(make_call(None))
    assert outcome.error is None, outcome.payload
    return json.loads(outcome.payload)


async def test_has_no_privileges_left(jail: Jail) -> None:
    status = await run(
        jail,
        """
        lines = (line.split(":\\t") for line in open("/proc/self/status"))
        return {name: value.strip() for name, value in lines}
        """,
    )
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Uid"].split() == ["993"] * 4
    assert status["Groups"] == ""


async def test_finds_only_its_own_processes(jail: Jail) -> None:
    victim = await jail(VICTIM)
    await victim.invoke(make_call(None))
    assert await run(jail, "return [name for name in os.listdir('/proc') if name.isdigit()]") == [
        "1"
    ]


async def test_cannot_read_files_of_host_or_neighbour(jail: Jail, tmp_path: Path) -> None:
    victim = await jail(VICTIM, environment={"PASSWORD": SECRET})
    await victim.invoke(make_call(None))
    (tmp_path / "hostfile").write_text(SECRET)
    paths = [
        "/etc/shadow",
        "/root/.bashrc",
        "/home",
        "/sys/kernel",
        "/run",
        "/boot",
        "/mnt",
        "/proc/2/environ",
        "/dev/mem",
        "/dev/vda",
        "/dev/shm",
        "/tmp/secret",
        "/.code",
        str(tmp_path / "hostfile"),
        str(tmp_path),
    ]
    found = await run(
        jail,
        f"""
        def read(path):
            return os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(64)
        return {{path: attempt(read, path) for path in {paths!r}}}
        """,
    )
    assert set(found.values()) <= {"ENOENT", "EACCES"}, found


async def test_secrets_of_a_neighbour_are_nowhere_in_reach(jail: Jail) -> None:
    victim = await jail(VICTIM, environment={"PASSWORD": SECRET})
    await victim.invoke(make_call(None))
    found = await run(
        jail,
        """
        import re
        needle = "-".join(["the", "secret", "of", "another", "account"]).encode()
        hits = []
        memory = open("/proc/self/mem", "rb", 0)
        for line in open("/proc/self/maps"):
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            if " r" in line and "[v" not in line and end - begin < 1 << 28:
                try:
                    memory.seek(begin)
                    if memory.read(end - begin).count(needle) > 2: hits.append(line)
                except (OSError, OverflowError): pass
        for folder, _, names in os.walk("/proc"):
            if "/task" in folder: continue
            for name in names:
                if name in ("environ", "cmdline", "keys"):
                    try:
                        if needle in open(os.path.join(folder, name), "rb").read(): hits.append(name)
                    except OSError: pass
        return hits
        """,
        memory_mb=512,
    )
    assert found == []


async def test_only_tmp_can_be_written(jail: Jail) -> None:
    """What is mounted read-only is so all the way down to the next mount: there the kernel's word is taken."""
    found = await run(
        jail,
        """
        import errno
        mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
        writable = []
        for mount in mounts:
            for folder, names, _ in os.walk(mount):
                names[:] = [name for name in names if os.path.join(folder, name) not in mounts]
                try:
                    open(os.path.join(folder, "written"), "w").close()
                    writable.append(folder)
                except OSError as error:
                    if error.errno == errno.EROFS or folder == "/proc":
                        names.clear()
        return writable
        """,
    )
    assert found == ["/tmp"]


async def test_cannot_change_the_kernels_settings(jail: Jail) -> None:
    found = await run(
        jail,
        """
        written = []
        for folder, _, names in os.walk("/proc"):
            if folder.startswith(("/proc/self", "/proc/1", "/proc/thread-self")): continue
            for name in names:
                path = os.path.join(folder, name)
                try: os.close(os.open(path, os.O_WRONLY)); written.append(path)
                except OSError: pass
        return written
        """,
    )
    # What may be opened: a setting of its own pid namespace, which asks for a capability when written, and triggers
    # that tell the writer of pressure and change nothing.
    found = [path for path in found if not path.startswith("/proc/pressure/")]
    assert set(found) <= {"/proc/sys/kernel/ns_last_pid"}


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("mount", "call(165, b'none', b'/tmp', b'tmpfs', 0, 0)"),
        ("umount", "call(166, b'/proc', 2)"),
        ("pivot_root", "call(155, b'/tmp', b'/tmp')"),
        ("chroot", "call(161, b'/tmp')"),
        ("unshare user", "call(272, 0x10000000)"),
        ("unshare mount", "call(272, 0x20000)"),
        ("setns", "call(308, 0, 0)"),
        ("clone user", "call(56, 0x10000000 | 17, 0, 0, 0, 0)"),
        ("ptrace", "call(101, 0, 0, 0, 0)"),
        ("process_vm_readv", "call(310, 1, 0, 0, 0, 0, 0)"),
        ("bpf", "call(321, 0, 0, 0)"),
        ("perf_event_open", "call(298, 0, 0, 0, 0, 0)"),
        ("keyctl", "call(250, 0, 0)"),
        ("add_key", "call(248, b'user', b'x', b'y', 1, -3)"),
        ("io_uring_setup", "call(425, 1, 0)"),
        ("userfaultfd", "call(323, 0)"),
        ("open_by_handle_at", "call(304, 0, 0, 0)"),
        ("init_module", "call(175, 0, 0, b'')"),
        ("kexec_load", "call(246, 0, 0, 0, 0)"),
        ("reboot", "call(169, 0, 0, 0, 0)"),
        ("clock_settime", "call(227, 0, 0)"),
        ("sethostname", "call(170, b'x', 1)"),
        ("swapon", "call(167, b'/tmp/x', 0)"),
        ("open_tree", "call(428, -100, b'/', 1)"),
        ("fsopen", "call(430, b'tmpfs', 0)"),
        ("personality", "call(135, 0x0040000)"),
        ("raw socket", "attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)"),
        ("packet socket", "attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)"),
        ("vsock", "attempt(socket.socket, socket.AF_VSOCK, socket.SOCK_STREAM)"),
        ("netlink audit", "attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 9)"),
        ("setuid root", "attempt(os.setuid, 0)"),
        ("device", "attempt(os.mknod, '/tmp/d', 0o020666, os.makedev(1, 1))"),
    ],
)
async def test_dangerous_calls_are_refused(jail: Jail, name: str, call: str) -> None:
    assert os.uname().machine == "x86_64", "the numbers are of this architecture"
    assert await run(jail, f"return {call}") in ("EPERM", "EINVAL"), name


async def test_clone3_sends_libc_back_to_clone(jail: Jail) -> None:
    assert await run(jail, "return call(435, 0, 0)") == "ENOSYS"
    assert await run(jail, "import subprocess; return subprocess.run(['true']).returncode") == 0


async def test_setuid_programs_give_nothing(jail: Jail) -> None:
    found = await run(
        jail,
        """
        import subprocess
        return subprocess.run(["su", "-c", "id"], capture_output=True, stdin=subprocess.DEVNULL).returncode
        """,
    )
    assert found != 0


async def test_the_network_is_its_own(jail: Jail) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0forerun-escape-test")
        local.listen()
        port = tcp.getsockname()[1]
        found = await run(
            jail,
            f"""
            def unix():
                socket.socket(socket.AF_UNIX).connect("\\0forerun-escape-test")
            return [
                attempt(socket.create_connection, ("127.0.0.1", {port}), 2),
                attempt(socket.create_connection, ("192.0.2.1", 80), 2),
                attempt(unix),
                sorted(name for _, name in socket.if_nameindex()),
            ]
            """,
        )
    assert found[:3] == ["ECONNREFUSED", "ENETUNREACH", "ECONNREFUSED"]
    assert "lo" in found[3]


async def test_no_descriptor_of_the_host_is_left_open(jail: Jail) -> None:
    found = await run(
        jail,
        """
        found = []
        for number in os.listdir("/proc/self/fd"):
            try: found.append(os.readlink("/proc/self/fd/" + number))
            except OSError: pass
        return found
        """,
    )
    kinds = sorted({name.split(":")[0] for name in found if not name.startswith("/proc")})
    assert kinds == ["/dev/null", "pipe", "socket"], found


async def test_climbing_out_of_the_root_ends_in_it(jail: Jail) -> None:
    found = await run(
        jail,
        """
        os.chdir("/var/task")
        return [sorted(os.listdir("/" + "../" * 20)), sorted(os.listdir("/proc/1/root"))]
        """,
    )
    assert found[0] == found[1]
    assert not {"home", "sys", "run", "boot", "mnt"} & set(found[0])


async def test_interfering_with_the_launcher_of_a_program_is_refused(
    jails: JailSandboxes, tmp_path: Path
) -> None:
    """A custom runtime shares user and namespaces with its launcher, which holds the wire."""
    source = """#!/usr/bin/python3 -I
import errno, json, os, urllib.request as web
def attempt(action, *arguments):
    try: return repr(action(*arguments))
    except OSError as error: return errno.errorcode[error.errno]
tries = [
    attempt(os.listdir, "/proc/1/fd"),
    attempt(lambda: open("/proc/1/mem", "rb")),
    attempt(lambda: open("/proc/1/environ", "rb").read()),
    attempt(os.kill, 1, 9), attempt(os.kill, 1, 15), attempt(os.kill, 1, 19),
]
status = dict(line.split(":", 1) for line in open("/proc/1/status"))
own = dict(line.split(":", 1) for line in open("/proc/self/status"))
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    work = web.urlopen(api + "next")
    name = work.headers["Lambda-Runtime-Aws-Request-Id"]
    caps = [status["CapEff"].strip(), own["CapEff"].strip(), own["Seccomp"].strip()]
    web.urlopen(web.Request(api + name + "/response", data=json.dumps([tries, caps]).encode())).read()
"""
    folder = write_code(tmp_path / "custom", source, "bootstrap")
    (folder / "bootstrap").chmod(0o755)
    sandbox = await jails.create("provided")
    await sandbox.assign(make_spec(folder, runtime="provided"), deadline=time.monotonic() + 10)
    tries, caps = json.loads((await sandbox.invoke(make_call(None))).payload)
    assert tries[:3] == ["EACCES"] * 3
    assert caps == ["0" * 16, "0" * 16, "2"]
    assert sandbox.alive
