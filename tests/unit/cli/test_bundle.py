import io
import os
import zipfile

import pytest

from forerun.cli.deploying import bundling
from forerun.cli.deploying.bundling import bundle
from forerun.cli.failures import Failure


def tree(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_equal_contents_give_equal_bytes(tmp_path):
    files = {"app.py": "a", "lib/b.py": "b", "data/c.txt": "c"}
    one = tree(tmp_path / "one", files)
    two = tree(tmp_path / "two", dict(reversed(files.items())))
    os.utime(two / "app.py", (1_000_000_000, 1_000_000_000))
    assert bundle(one).content == bundle(two).content
    assert bundle(one).names == ("app.py", "data/c.txt", "lib/b.py")
    (two / "app.py").write_text("changed")
    assert bundle(one).sha256 != bundle(two).sha256


def test_leaves_out_what_no_handler_needs(tmp_path):
    tree(
        tmp_path,
        {
            "app.py": "",
            "__pycache__/app.pyc": "",
            ".git/config": "",
            ".venv/lib/x.py": "",
            "env/pyvenv.cfg": "",
            "env/lib/y.py": "",
            "node_modules/dep/index.js": "",
            "six.dist-info/METADATA": "",
            "docs/a.md": "",
            "notes.txt": "",
            ".forerunignore": "# ours\n*.txt\n/docs/*\n",
        },
    )
    assert bundle(tmp_path).names == (
        "app.py",
        "node_modules/dep/index.js",
        "six.dist-info/METADATA",
    )


def test_keeps_the_executable_bit_and_nothing_else_of_the_mode(tmp_path):
    tree(tmp_path, {"bootstrap": "#!/bin/sh", "data": ""})
    (tmp_path / "bootstrap").chmod(0o700)
    (tmp_path / "data").chmod(0o600)
    with zipfile.ZipFile(io.BytesIO(bundle(tmp_path).content)) as archive:
        modes = {item.filename: item.external_attr >> 16 for item in archive.infolist()}
    assert modes == {"bootstrap": 0o100755, "data": 0o100644}


def test_links_inside_become_files_and_links_outside_are_refused(tmp_path):
    outside = tmp_path / "secret"
    outside.write_text("s")
    root = tree(tmp_path / "code", {"app.py": "a"})
    (root / "same.py").symlink_to("app.py")
    assert bundle(root).read("same.py") == "a"
    (root / "leak").symlink_to(outside)
    with pytest.raises(Failure, match="leak is not a file inside"):
        bundle(root)


def test_link_to_a_folder_is_refused(tmp_path):
    root = tree(tmp_path / "code", {"app.py": "a", "lib/b.py": "b"})
    (root / "again").symlink_to("lib")
    with pytest.raises(Failure, match="link to a folder"):
        bundle(root)


def test_a_file_a_zip_and_nothing(tmp_path, monkeypatch):
    file = tmp_path / "hello.py"
    file.write_text("x")
    assert bundle(file).names == ("hello.py",)
    packed = tmp_path / "code.zip"
    packed.write_bytes(bundle(file).content)
    assert bundle(packed) == bundle(file)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Failure, match="no files"):
        bundle(tmp_path / "empty")
    with pytest.raises(Failure, match="does not exist"):
        bundle(tmp_path / "absent")
    monkeypatch.setattr(bundling, "MAX_BYTES", 10)
    with pytest.raises(Failure, match="limit is 50 MB"):
        bundle(file)
