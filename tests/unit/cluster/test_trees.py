"""Trees of code on their way: what is sent is what comes, and nothing comes that is not what it must be."""

import asyncio
import os
import shutil
import stat
from pathlib import Path

import pytest
from tests.agents import authority, control, eventually, identity

from forerun.cluster import HostTrees, Knocker, TreeSource
from forerun.cluster import manifest as manifests
from forerun.cluster.frames import TreeLead
from forerun.cluster.manifest import BadTree, Entry
from forerun.cluster.trees import Planting, look
from forerun.errors import StorageFailed

HASH = "0" * 64
DIGEST = "a" * 64


def make(root: Path) -> Path:
    (root / "pkg" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "app.py").write_text("x = 1\n")
    (root / "pkg" / "nothing").touch()
    (root / "pkg" / "deep" / "bin").write_bytes(os.urandom(3_000_000))
    (root / "pkg" / "deep" / "bin").chmod(0o555)
    (root / "link").symlink_to("pkg/deep")
    (root / "pkg" / "up").symlink_to("../app.py")
    return root


def shape(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = (path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
        else:
            found[name] = "folder"
    return found


def test_what_is_planted_is_what_was_looked_at(tmp_path) -> None:
    source = make(tmp_path / "source")
    packed = manifests.pack(look(str(source)))
    assert manifests.pack(look(str(source))) == packed
    entries = manifests.read(packed)
    content = b"".join((source / one.path).read_bytes() for one in entries if one.kind == "f")
    planting = Planting(tmp_path / DIGEST, entries)
    for start in range(0, len(content), 70_001):
        planting.take(content[start : start + 70_001])
    assert not (tmp_path / DIGEST).exists()
    planting.finish()
    assert shape(tmp_path / DIGEST) == shape(source)
    assert manifests.pack(look(str(tmp_path / DIGEST))) == packed
    assert sorted(path.name for path in tmp_path.iterdir()) == [DIGEST, "source"]


BAD = {
    "absolute": [Entry("/etc/passwd", "f", hash=HASH)],
    "climbing": [Entry("../x", "f", hash=HASH)],
    "inner-climbing": [Entry("a", "d"), Entry("a/../../x", "f", hash=HASH)],
    "nul": [Entry("a\0b", "f", hash=HASH)],
    "empty": [Entry("", "d")],
    "twice": [Entry("a", "f", hash=HASH), Entry("a", "f", hash=HASH)],
    "in-a-file": [Entry("a", "f", hash=HASH), Entry("a/b", "f", hash=HASH)],
    "in-a-link": [Entry("a", "l", target="b"), Entry("a/b", "f", hash=HASH)],
    "in-nothing": [Entry("a/b", "f", hash=HASH)],
    "device": [Entry("a", "b")],
    "no-hash": [Entry("a", "f", hash="x")],
    "negative": [Entry("a", "f", size=-1, hash=HASH)],
    "link-out": [Entry("a", "l", target="../x")],
    "link-absolute": [Entry("a", "l", target="/etc")],
    "link-empty": [Entry("a", "l", target="")],
    "link-by-link": [Entry("d", "d"), Entry("d/l", "l", target="x/../../..")],
}


@pytest.mark.parametrize("entries", BAD.values(), ids=BAD)
def test_manifests_that_lead_out_are_refused(entries) -> None:
    with pytest.raises(BadTree):
        manifests.read(manifests.pack(entries))


@pytest.mark.parametrize("noise", [b"", b"\xc1", b"\x93\1\2\3"], ids=["nothing", "noise", "types"])
def test_what_is_no_manifest(noise) -> None:
    with pytest.raises(BadTree):
        manifests.read(noise)


@pytest.mark.parametrize(
    ("content", "finishes"),
    [(b"y = 1\n", False), (b"x = 1\nmore", False), (b"x = 1", True)],
    ids=["other", "more", "less"],
)
def test_other_content_is_refused_and_leaves_nothing(tmp_path, content, finishes) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "app.py").write_text("x = 1\n")
    planting = Planting(tmp_path / DIGEST, look(str(tmp_path / "source")))
    if finishes:
        planting.take(content)
        with pytest.raises(BadTree, match="ended within"):
            planting.finish()
    else:
        with pytest.raises(BadTree):
            planting.take(content)
    planting.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_pipe_is_not_sent(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadTree):
        look(str(tmp_path))


async def test_hosts_take_no_tree_that_is_another_than_it_must_be(tmp_path) -> None:
    trust = authority()
    async with control(trust, tmp_path / "control") as plane:
        make(plane.trees / DIGEST)
        own = TreeSource(plane.address, "control-1", "control")
        knocker = Knocker(identity(trust, "host-1", "host"))
        packed = manifests.pack(look(str(plane.trees / DIGEST)))
        size = sum(one.size for one in look(str(plane.trees / DIGEST)))
        lead = TreeLead(manifest=manifests.seal(packed), size=size, sources=[own])
        asked = []

        async def find(digest: str) -> TreeLead:
            asked.append(digest)
            return lead

        def trees(reserve: int = 0) -> HostTrees:
            made = HostTrees(
                tmp_path / "host",
                lead=find,
                knocker=knocker,
                in_use=set,
                limit=10**7,
                reserve=reserve,
            )
            made.start()
            return made

        spec = plane.deploy("unused")
        spec = type(spec)(**{**_fields(spec), "code_dir": f"/x/{DIGEST}"})
        good = lead
        lead = TreeLead(manifest=HASH, size=size, sources=[own])
        with pytest.raises(StorageFailed, match="manifest is not the one"):
            await trees().bring(spec)
        lead = TreeLead(manifest=good.manifest, size=10**8, sources=[own])
        with pytest.raises(StorageFailed, match="limit"):
            await trees().bring(spec)
        lead = good
        with pytest.raises(StorageFailed, match="disk of this host is full"):
            await trees(reserve=1 << 60).bring(spec)
        assert not list((tmp_path / "host").iterdir())
        # Nobody there is passed over for the next who has it.
        nobody = TreeSource("127.0.0.1:1", "host-9", "host")
        lead = TreeLead(manifest=good.manifest, size=size, sources=[nobody, own])
        mine = trees()
        await mine.bring(spec)
        assert shape(tmp_path / "host" / DIGEST) == shape(plane.trees / DIGEST)
        assert dict(mine.there) == {DIGEST: True}
        asked.clear()
        await mine.bring(spec)
        assert not asked
        # Also when somebody has removed it.
        shutil.rmtree(tmp_path / "host" / DIGEST)
        await mine.bring(spec)
        assert shape(tmp_path / "host" / DIGEST) == shape(plane.trees / DIGEST)
        # The next process of this host finds it, and removes what was begun.
        (tmp_path / "host" / ".fetching-x").mkdir()
        assert dict(trees().there) == {DIGEST: True}
        await eventually(lambda: not (tmp_path / "host" / ".fetching-x").exists())


def _fields(spec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


async def test_a_host_that_does_not_read_keeps_no_other_from_its_code(tmp_path) -> None:
    trust = authority()
    async with control(trust, tmp_path / "control") as plane:
        tree = plane.trees / DIGEST
        tree.mkdir()
        (tree / "big").write_bytes(bytes(16 << 20))
        slow, quick = (Knocker(identity(trust, name, "host")) for name in ("slow", "quick"))
        knocking = [
            asyncio.ensure_future(slow.knock(plane.address, "tree", {"digest": DIGEST}))
            for _ in range(40)
        ]
        await eventually(lambda: sum(each.done() for each in knocking) >= 4)
        found = await quick.knock(plane.address, "tree", {"digest": DIGEST})
        reader, writer = found.streams()
        async with asyncio.timeout(10):
            await reader.readexactly(found.fields["manifest"] + (16 << 20))
        assert sum(each.done() for each in knocking) == 4
        writer.transport.abort()
        for each in knocking:
            if each.done():
                each.result().transport.abort()
            each.cancel()
        await asyncio.gather(*knocking, return_exceptions=True)
