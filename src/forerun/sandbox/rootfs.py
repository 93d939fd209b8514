"""What a sandbox's read-only root holds: the host's programs and libraries, and little else. Pure but for looking.

The plan is carried out by ``forerun.runtime.root``. From the host come ``/usr``, the interpreter's own folder when it
is elsewhere, a few files of ``/etc``, and the AWS SDK that this server was installed with; users' homes, ``/var``,
``/etc`` as a whole, ``/sys`` and ``/run`` do not exist inside.
"""

import importlib.util
from pathlib import Path
from typing import Any

import forerun
from forerun.runtime.assignment import LIBRARY_PATH, PROGRAM_PATH
from forerun.sandbox.bytecode import PACKS_ROOT
from forerun.sandbox.interpreters import Interpreter

SDK_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = (
    "alternatives",
    "ca-certificates",
    "ld.so.cache",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "pki",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
)
_FILES = {
    "/etc/passwd": (
        "root:x:0:0:root:/root:/sbin/nologin\n"
        "sbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n"
    ),
    "/etc/group": "root:x:0:\nsbx_user1051:x:990:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/hostname": "localhost\n",
    # Bytecode is mounted over them.
    f"{PACKS_ROOT}/task": "",
    f"{PACKS_ROOT}/layers": "",
}
_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}


def root_plan(
    interpreters: list[Interpreter], *, code_root: Path | None, resolvers: str
) -> dict[str, Any]:
    """Binds, links and files for ``forerun.runtime.root.enter``.

    ``code_root`` is the folder of all functions' code, given only without root, where each sandbox takes its own part
    out of it itself. ``resolvers`` is the text of resolv.conf.
    """
    binds: list[list[str]] = [["/usr", "/usr"]]
    links = dict(_LINKS)
    for name in _TOP:
        top = Path("/") / name
        if top.is_symlink():
            links[str(top)] = str(top.readlink())
        elif top.is_dir():
            binds.append([str(top), str(top)])
    for one in interpreters:
        if one.prefix is not None and [str(one.prefix)] * 2 not in binds:
            binds.append([str(one.prefix)] * 2)
    # The target of a link may be outside of what is in the root.
    etc = [path for name in _ETC if (path := Path("/etc", name)).exists()]
    binds += [[str(path.resolve()), str(path)] for path in etc]
    package = Path(forerun.__path__[0])
    binds.append([str(package / "__init__.py"), "/var/runtime/forerun/__init__.py"])
    binds.append([str(package / "runtime"), "/var/runtime/forerun/runtime"])
    binds += [[str(source), f"/var/runtime/{source.name}"] for source in sdk_packages()]
    if code_root is not None:
        binds.append([str(code_root), "/.code"])
    return {"binds": binds, "links": links, "files": {**_FILES, "/etc/resolv.conf": resolvers}}


def zygote_environment() -> dict[str, str]:
    """Variables of the interpreter in the root: those that it and the dynamic loader read at their start."""
    return {
        "LD_LIBRARY_PATH": LIBRARY_PATH,
        "PATH": PROGRAM_PATH,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
    }


def host_resolvers() -> str:
    """The host's name servers; for a resolver on loopback, the ones behind it."""
    for name in ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"):
        try:
            text = Path(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        lines = [line for line in text.splitlines() if line.startswith(("nameserver ", "search "))]
        return "".join(f"{line}\n" for line in lines)
    return ""


def sdk_packages() -> list[Path]:
    """Folders and files of the AWS SDK in this server's environment, which functions get as on AWS."""
    return [source for name in SDK_PACKAGES if (source := _package(name)) is not None]


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin
