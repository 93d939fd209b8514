"""Watched directories: whoever puts a file there has a function run, or a queue, a topic, a bus or a URL told.

Every file below a watched directory is told at least once for each state in which it came to rest, also when that was while the
server was down: what was told is stored, and the directory is compared with it. The kernel's notices only say where to look.
Files are told by CloudEvents, and never read. Symbolic links are not followed.
"""

from forerun.sources.folders.keeper import Standing
from forerun.sources.folders.roots import require_allowed, resolve
from forerun.sources.folders.service import Folders, FolderWish
from forerun.sources.folders.telling import folder_arn
from forerun.sources.folders.walk import Walk

__all__ = [
    "FolderWish",
    "Folders",
    "Standing",
    "Walk",
    "folder_arn",
    "require_allowed",
    "resolve",
]
