"""Which directories may be watched, and on what they lie: the operator's say, and the machine's."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from forerun.errors import AccessDenied, InvalidInput

HOW = (
    "An operator allows it with events.folders in forerun.toml, or FORERUN_EVENTS_FOLDERS=/srv/inbox, "
    "and a restart of the server"
)
# Changes made on other machines are not told by the kernel here.
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "glusterfs", "virtiofs"})  # fmt: skip


def resolve(path: str) -> str:
    """The directory without symbolic links; ``InvalidInput`` when there is none."""
    _require_absolute(path)
    try:
        real = os.path.realpath(path, strict=True)
        real.encode()
    except (OSError, UnicodeEncodeError) as error:
        raise InvalidInput(f"Path {path!r} cannot be watched: {error}") from None
    if not Path(real).is_dir():
        raise InvalidInput(f"Path {path!r} is no directory")
    return real


def require_allowed(path: str, account: str, roots: Sequence[str]) -> None:
    """Return when an account may have ``path`` watched, which ``resolve`` gave; else ``AccessDenied``."""
    mine = [os.path.realpath(place) for place in _places(account, roots)]
    if _is_below(path, mine):
        return
    _refuse(path, mine)


def require_named(path: str, account: str, roots: Sequence[str]) -> None:
    """As ``require_allowed``, of a name that a client gave, before the disk is looked at: nobody learns what is elsewhere on it."""
    _require_absolute(path)
    places = _places(account, roots)
    named = os.path.normpath(path)
    if not _is_below(named, [*map(os.path.normpath, places), *map(os.path.realpath, places)]):
        _refuse(named, places)


def _require_absolute(path: str) -> None:
    if not path.startswith("/") or "\0" in path:
        raise InvalidInput("Path must be absolute, such as /srv/inbox")


def _places(account: str, roots: Sequence[str]) -> list[str]:
    found = []
    for root in roots:
        owner, _, place = root.rpartition(":") if not root.startswith("/") else ("", "", root)
        if owner in ("", account):
            found.append(place)
    return found


def _is_below(path: str, roots: Sequence[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def _refuse(path: str, mine: Sequence[str]) -> NoReturn:
    if not mine:
        raise AccessDenied(f"No directory may be watched. {HOW}")
    raise AccessDenied(
        f"{path} may not be watched; allowed is what lies below {', '.join(mine)}. {HOW}"
    )


def mount_of(path: str) -> str:
    """The mount point that a directory is on."""
    place = Path(path)
    while not os.path.ismount(place) and place != place.parent:
        place = place.parent
    return str(place)


def is_network(mount: str, mountinfo: str) -> bool:
    """Whether a mount point's file system is another machine's; ``mountinfo`` is the text of /proc/self/mountinfo."""
    kind = ""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        parts = fields.split(" ")
        if len(parts) > 4 and parts[4].replace("\\040", " ") == mount:
            kind = rest.partition(" ")[0]
    return kind in _NETWORK or kind.startswith("fuse.")
