"""The pages' own files, as they were built from ``console/`` into ``assets/``: read once, served from memory, packed."""

import gzip
from pathlib import Path
from typing import NamedTuple

from forerun.console.answers import Answer, Headers, page

FOLDER = Path(__file__).parent / "assets"
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_HASHED = "assets/"
_FOREVER = b"public, max-age=31536000, immutable"
_ASK = b"no-cache"
NOT_BUILT = page(
    503,
    "<p>The pages of the console are not built. In a clone of the repository, run <code>make console</code>; "
    "an installed package has them.</p>",
)


class _File(NamedTuple):
    content_type: bytes
    plain: bytes
    packed: bytes
    cache: bytes


class Pages:
    """Serves the files of one folder; every path that is no file is the index, which finds out itself what it shows."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._files: dict[str, _File] | None = None

    def serve(self, path: str, *, gzipped: bool) -> Answer:
        """The file at ``path`` below ``/console/``."""
        # Read when first asked for: most servers that start are never looked at.
        files = self._files = self._files or _read(self._folder)
        file = files.get(path)
        if file is None:
            if path.startswith(_HASHED):
                return page(
                    404, "<p>This file belongs to another version; load the page again.</p>"
                )
            file = files.get("index.html")
        if file is None:
            return NOT_BUILT
        headers: Headers = [(b"cache-control", file.cache), (b"vary", b"accept-encoding")]
        if gzipped:
            headers.append((b"content-encoding", b"gzip"))
        return Answer(200, file.content_type, file.packed if gzipped else file.plain, headers)


def _read(folder: Path) -> dict[str, _File]:
    files = {}
    for path in folder.rglob("*"):
        if path.is_file() and (content_type := _TYPES.get(path.suffix)):
            name, content = path.relative_to(folder).as_posix(), path.read_bytes()
            cache = _FOREVER if name.startswith(_HASHED) else _ASK
            files[name] = _File(content_type, content, gzip.compress(content, 9, mtime=0), cache)
    return files
