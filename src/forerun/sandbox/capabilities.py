"""What this machine can isolate, and what to install or allow where it cannot. Looks, and changes nothing."""

import os
import platform
import pwd
from dataclasses import dataclass
from pathlib import Path

from forerun.runtime import seccomp, syscalls
from forerun.sandbox.cgroups import hierarchies
from forerun.sandbox.interpreters import find_nodes, find_pythons, search_folders
from forerun.sandbox.network import why_closed

_OLDEST_KERNEL = (5, 12)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``remedy`` says what to do when it is not ``ok``, else it is empty."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def probe(path: str = os.defpath, home: Path | None = None) -> list[Finding]:
    """All findings, the most important first.

    ``path`` is a ``PATH`` to look for interpreters in, ``home`` the folder that may hold pyenv's (default: of the
    calling user). Takes some milliseconds, most of it for asking Node.js for its version.
    """
    home = home or Path(pwd.getpwuid(os.getuid()).pw_dir)
    return [
        _kernel(),
        _namespaces(),
        _privileges(),
        _control_groups(),
        _filter(),
        _landlock(),
        _overlay(),
        *_interpreters(path, home),
        _open_egress(),
    ]


def can_jail() -> str | None:
    """``None`` when jails can be made here, else why not."""
    for finding in (_kernel(), _namespaces(), _filter()):
        if not finding.ok:
            return f"{finding.name}: {finding.detail}. {finding.remedy}".strip()
    return None


def _kernel() -> Finding:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    ok = platform.system() == "Linux" and numbers >= _OLDEST_KERNEL
    return Finding(
        "kernel",
        ok,
        f"{platform.system()} {release}",
        "" if ok else "Linux 5.12 or later is needed",
    )


def _namespaces() -> Finding:
    """Makes the namespaces for real, in a child that does nothing else: settings and security modules both count."""
    flags = (
        syscalls.CLONE_NEWUSER
        | syscalls.CLONE_NEWNS
        | syscalls.CLONE_NEWPID
        | syscalls.CLONE_NEWNET
    )
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.unshare(flags)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:
        return Finding("user namespaces", ok=True, detail="can be made")
    return Finding(
        "user namespaces",
        ok=False,
        detail=os.strerror(code) if code > 0 else f"signal {-code}",
        remedy=(
            "allow them: sysctl user.max_user_namespaces=15000, kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0; in a container: --privileged"
        ),
    )


def _privileges() -> Finding:
    if os.geteuid() == 0:
        return Finding(
            "privileges", ok=True, detail="root: every sandbox gets a user id of its own"
        )
    return Finding(
        "privileges",
        ok=False,
        detail="not root: all sandboxes share this user on the host, and limits need a delegated control group",
        remedy="run as root for the stronger isolation",
    )


def _control_groups() -> Finding:
    places = hierarchies()
    found = {name: places[name] for name in ("memory", "cpu", "pids") if name in places}
    version = 1
    if not found:
        version = 2
        for name in ("v2", "v2-root"):
            place = places.get(name)
            listed = _words(place / "cgroup.controllers") if place is not None else set()
            found = {one: place for one in ("memory", "cpu", "pids") if place and one in listed}
            if found:
                break
    writable = sorted(name for name, place in found.items() if os.access(place, os.W_OK))
    missing = [name for name in ("memory", "cpu", "pids") if name not in writable]
    if not missing:
        return Finding("control groups", ok=True, detail=f"version {version}: memory, cpu, pids")
    return Finding(
        "control groups",
        ok=False,
        detail=f"no limits of {', '.join(missing)}",
        remedy="run as root, or delegate: systemd-run --user -p Delegate=yes forerun up",
    )


def _filter() -> Finding:
    try:
        size = len(seccomp.program()) // 8
    except ValueError as error:
        return Finding(
            "system call filter", ok=False, detail=str(error), remedy="use x86_64 or aarch64"
        )
    if "Seccomp" not in Path("/proc/self/status").read_text(encoding="utf-8"):
        return Finding(
            "system call filter",
            ok=False,
            detail="not in this kernel",
            remedy="enable CONFIG_SECCOMP_FILTER",
        )
    return Finding(
        "system call filter", ok=True, detail=f"{size} instructions for {platform.machine()}"
    )


def _landlock() -> Finding:
    abi = syscalls.landlock_abi()
    detail = (
        f"version {abi}"
        if abi
        else "not in this kernel; not needed, the mount namespace does its work"
    )
    return Finding("landlock", ok=True, detail=detail)


def _overlay() -> Finding:
    ok = "overlay" in _words(Path("/proc/filesystems"))
    return Finding("overlay file system", ok=True, detail="present" if ok else "absent; not needed")


def _interpreters(path: str, home: Path | None) -> list[Finding]:
    folders = search_folders(path)
    pythons, nodes = find_pythons(folders, home), find_nodes(folders)
    findings = [
        Finding(name, ok=True, detail=str(one.program))
        for name, one in sorted({**pythons, **nodes}.items())
    ]
    if not pythons:
        findings.append(
            Finding(
                "python", ok=False, detail="no interpreter found", remedy="apt-get install python3"
            )
        )
    if not nodes:
        findings.append(
            Finding(
                "nodejs",
                ok=False,
                detail="no interpreter found: functions of nodejs runtimes are refused",
                remedy="install Node.js 18 or later so that `node` is on the PATH",
            )
        )
    return findings


def _open_egress() -> Finding:
    reason = why_closed()
    if reason is None:
        return Finding("open egress", ok=True, detail="ip, nft and forwarding found")
    return Finding(
        "open egress",
        ok=False,
        detail="functions with egress 'open' are refused; 'none' and 'platform' work",
        remedy=reason,
    )


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="ascii").split())
    except OSError:
        return set()
