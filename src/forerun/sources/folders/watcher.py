"""What the kernel tells of changes below directories: where to look, and no more than that.

It may tell too little (its queue is bounded and says nothing when it was full, and other machines' changes are not known to
it), so directories are looked through from time to time all the same. Here a thread waits for it.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

log = logging.getLogger("forerun.folders")

STEP_MS = 50
GROUP_MS = 400
LOOK_MS = 2000
JOIN_S = 5.0

Changed = Callable[[set[bytes]], None]
"""Is called in a thread, with the absolute paths of what changed."""


class Watcher:
    """Watches directories until ``close``; another set of them needs another watcher. ``trouble`` says why it does not."""

    def __init__(self, paths: Sequence[str], changed: Changed, *, recursive: bool) -> None:
        self._paths = list(paths)
        self._changed = changed
        self._recursive = recursive
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.trouble = ""

    def start(self) -> None:
        """Watch from now on: what changes behind the return of this is told. For a thread."""
        # Most servers watch no directory.
        from watchfiles._rust_notify import RustNotify  # noqa: PLC0415

        try:
            # Nothing is printed, the kernel's notices are used, and directories that may not be read are passed over.
            notify = RustNotify(self._paths, False, False, 0, self._recursive, True)  # noqa: FBT003 so it is called
        except (OSError, RuntimeError) as error:
            self.trouble = f"The kernel does not watch it: {error}"
            log.warning("%s; directories are looked through instead", self.trouble)
            return
        self._thread = threading.Thread(
            target=self._run, args=(notify,), name="folders", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop; for a thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def _run(self, notify: Any) -> None:
        with notify:
            while not self._ended.is_set():
                found = notify.watch(GROUP_MS, STEP_MS, LOOK_MS, self._ended)
                # A text says that nothing was found, and why.
                if isinstance(found, set):
                    self._changed({os.fsencode(path) for _, path in found})
