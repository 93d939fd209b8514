"""The built files: how long they may be kept, what stands in for them, and that the package has them."""

import gzip
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from forerun.console.answers import GUARD
from forerun.console.pages import FOLDER, Pages

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>index")
    (tmp_path / "assets" / "a-1.js").write_text("go()")
    (tmp_path / "secret.key").write_text("no")
    return tmp_path


def test_hashed_files_are_kept_for_ever_and_the_index_never(folder: Path):
    pages = Pages(folder)
    script = pages.serve("assets/a-1.js", gzipped=False)
    assert script.body == b"go()"
    assert b"immutable" in dict(script.headers)[b"cache-control"]
    index = pages.serve("", gzipped=True)
    assert gzip.decompress(index.body) == b"<p>index"
    assert dict(index.headers)[b"content-encoding"] == b"gzip"
    assert dict(index.headers)[b"cache-control"] == b"no-cache"


@pytest.mark.parametrize(
    "path", ["functions/f", "traces/0", "secret.key", "../pages.py", "x/../.."]
)
def test_whatever_is_no_page_file_is_the_index(folder: Path, path: str):
    assert Pages(folder).serve(path, gzipped=False).body == b"<p>index"


def test_files_of_another_version_are_not_found(folder: Path):
    assert Pages(folder).serve("assets/a-2.js", gzipped=False).status == 404


def test_without_built_pages_it_says_how_to_build_them(tmp_path: Path):
    answer = Pages(tmp_path / "none").serve("", gzipped=False)
    assert answer.status == 503
    assert b"make console" in answer.body


def test_nothing_from_outside_is_allowed():
    policy = dict(GUARD)[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy


@pytest.mark.skipif(not (FOLDER / "index.html").exists(), reason="pages not built: make console")
def test_the_built_pages_are_small_and_name_nobody_else():
    packed = {
        path.relative_to(FOLDER).as_posix(): len(gzip.compress(path.read_bytes(), 9))
        for path in FOLDER.rglob("*")
        if path.is_file()
    }
    index = (FOLDER / "index.html").read_text()
    first = {"index.html"} | set(re.findall(r'(?:src|href)="/console/([^"]+)"', index))
    assert {"index.html", "theme.js", "mark.svg"} < first < packed.keys()
    # What is loaded before anything is seen; every other part comes with the first page that needs it.
    assert sum(packed[name] for name in first) < 81 * 1024
    assert max(size for name, size in packed.items() if name not in first) < 23 * 1024
    assert sum(packed.values()) < 174 * 1024
    assert "://" not in index
    assert "<script>" not in index
    assert "style=" not in index


@pytest.mark.skipif(not (FOLDER / "index.html").exists(), reason="pages not built: make console")
@pytest.mark.slow
def test_the_wheel_holds_the_pages(tmp_path: Path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=50)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    built = {
        f"forerun/console/assets/{path.relative_to(FOLDER).as_posix()}"
        for path in FOLDER.rglob("*")
        if path.is_file()
    }
    assert built <= held
    assert not any("node_modules" in name for name in held)


@pytest.mark.skipif(
    not (ROOT / "console" / "node_modules").exists(), reason="npm packages not there: make console"
)
@pytest.mark.slow
def test_what_the_pages_compute_is_right():
    """Numbers as they are shown, rows and zoom of the waterfall, the layout of graphs: tested in their own language."""
    ran = subprocess.run(
        ["npm", "test", "--silent"],
        cwd=ROOT / "console",
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
