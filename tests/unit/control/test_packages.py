"""Packages of strangers: what is taken, and every attack that is refused before it harms."""

import io
import os
import stat
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.clock import FakeClock

from forerun.control.packaging.code import CodeStore
from forerun.control.packaging.packages import PackageInvalid, PackageTooLarge, unpack
from forerun.errors import InvalidInput, StorageFailed

LIMIT = 100_000


def entry(name, content=b"x", mode=0o100644, **changes):
    info = zipfile.ZipInfo("placeholder", (2026, 1, 1, 0, 0, 0))
    info.filename = info.orig_filename = name
    info.external_attr = mode << 16
    info.create_system = 3
    for field, value in changes.items():
        setattr(info, field, value)
    return info, content


def make(*entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in entries:
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


def unpacked(package, target, limit=LIMIT):
    return unpack(io.BytesIO(package), target, limit=limit)


def everything(tree):
    found = {}
    for directory, names, files in os.walk(tree):
        for name in names + files:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            key = os.path.relpath(path, tree)
            if stat.S_ISLNK(mode):
                found[key] = "-> " + os.readlink(path)
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    found[key] = (oct(stat.S_IMODE(mode)), file.read())
    return found


def test_files_come_out_read_only_with_nothing_but_their_executable_bit(tmp_path):
    package = make(
        entry("app.py", b"code", 0o100644),
        entry("bin/run", b"#!", 0o100755),
        entry("odd", b"", 0o104777),
        entry("empty/", b"", 0o40777),
        entry("lib/link.so", b"link.so.1", 0o120777),
        entry("lib/link.so.1", b"elf"),
        entry("./dotted/./file", b"d"),
    )
    assert unpacked(package, tmp_path) == sum(
        map(len, (b"code", b"#!", b"link.so.1", b"elf", b"d"))
    )
    assert everything(tmp_path) == {
        "app.py": ("0o444", b"code"),
        "bin/run": ("0o555", b"#!"),
        "odd": ("0o555", b""),
        "lib/link.so": "-> link.so.1",
        "lib/link.so.1": ("0o444", b"elf"),
        "dotted/file": ("0o444", b"d"),
    }
    assert (tmp_path / "empty").is_dir()


def test_a_zip_without_modes_may_hold_a_bootstrap(tmp_path):
    package = bytearray(make(entry("bootstrap", b"#!")))
    struct.pack_into("<L", package, package.index(b"PK\x01\x02") + 38, 0)
    unpacked(bytes(package), tmp_path)
    assert everything(tmp_path) == {"bootstrap": ("0o555", b"#!")}


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "..",
        "/etc/passwd",
        "a\\b",
        "C:\\evil",
        "a\0b",
        "x" * 256,
        "/".join("d" * 65),
        "a/" * 40 + "x" * 1000,
    ],
)
def test_names_that_leave_the_tree_or_are_no_names(tmp_path, name):
    target = tmp_path / "in"
    target.mkdir()
    package = make(entry("PLACE" + "H" * (len(name) - 5) if len(name) > 5 else "P" * len(name)))
    old = ("PLACE" + "H" * (len(name) - 5) if len(name) > 5 else "P" * len(name)).encode()
    package = package.replace(old, name.encode())
    with pytest.raises(PackageInvalid):
        unpacked(package, target)
    assert not (tmp_path / "evil").exists()
    assert everything(target) == {}


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../outside", "a/../../outside", "", "d/l/../../x", "sub/../../x"]
)
def test_links_that_could_leave_the_tree(tmp_path, target):
    with pytest.raises(PackageInvalid, match="link"):
        unpacked(make(entry("link", target.encode(), 0o120777)), tmp_path)


def test_a_link_may_climb_as_far_as_its_own_depth(tmp_path):
    unpacked(make(entry("a/b/link", b"../../top", 0o120777), entry("top", b"t")), tmp_path)
    assert (tmp_path / "a/b/link").read_bytes() == b"t"
    with pytest.raises(PackageInvalid):
        unpacked(make(entry("a/b/over", b"../../../top", 0o120777)), tmp_path)


def test_nothing_is_written_through_a_link(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "in"
    target.mkdir()
    for entries in (
        [entry("d", b"other", 0o120777), entry("d/file", b"through")],
        [entry("d/file", b"through"), entry("d", b"other", 0o120777)],
    ):
        with pytest.raises(PackageInvalid, match="file and a directory"):
            unpacked(make(*entries), target)
    # A lower layer's link gives way to a higher one's directory, and is not followed.
    (target / "d").symlink_to(outside)
    unpacked(make(entry("d/file", b"inside")), target)
    assert list(outside.iterdir()) == []
    assert (target / "d/file").read_bytes() == b"inside"
    (target / "f").symlink_to(outside / "made")
    unpacked(make(entry("f", b"inside")), target)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("mode", [0o010644, 0o020644, 0o060644, 0o140644])
def test_special_files(tmp_path, mode):
    with pytest.raises(PackageInvalid, match="special"):
        unpacked(make(entry("pipe", b"", mode)), tmp_path)


def test_two_entries_of_one_name(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        package = make(entry("same"), entry("same"))
    with pytest.raises(PackageInvalid, match="two entries"):
        unpacked(package, tmp_path)
    with pytest.raises(PackageInvalid, match="two entries"):
        unpacked(make(entry("a/same"), entry("a/./same")), tmp_path)


def test_encrypted_and_foreign_methods(tmp_path):
    package = bytearray(make(entry("secret")))
    directory = package.index(b"PK\x01\x02")
    package[6] |= 1
    package[directory + 8] |= 1
    with pytest.raises(PackageInvalid, match="encrypted"):
        unpacked(bytes(package), tmp_path)
    package = bytearray(make(entry("odd")))
    struct.pack_into("<H", package, package.index(b"PK\x01\x02") + 10, 99)
    with pytest.raises(PackageInvalid, match="method"):
        unpacked(bytes(package), tmp_path)


def test_a_bomb_is_refused_by_what_it_says_and_by_what_it_does(tmp_path):
    bomb = make(entry("zeros", bytes(LIMIT + 1)))
    assert len(bomb) < 1000
    with pytest.raises(PackageTooLarge, match=str(LIMIT)):
        unpacked(bomb, tmp_path)
    many = make(*(entry(f"z{i}", bytes(LIMIT // 10)) for i in range(11)))
    with pytest.raises(PackageTooLarge):
        unpacked(many, tmp_path)
    assert everything(tmp_path) == {}
    # It says it is small: then no more than that is inflated, and the checksum tells.
    liar = bytearray(bomb)
    directory = liar.index(b"PK\x01\x02")
    struct.pack_into("<L", liar, directory + 24, 10)
    struct.pack_into("<L", liar, 22, 10)
    with pytest.raises(InvalidInput):
        unpacked(bytes(liar), tmp_path)
    assert sum(os.path.getsize(path) for path in tmp_path.rglob("*") if path.is_file()) <= LIMIT


def test_exactly_the_limit_is_allowed(tmp_path):
    assert unpacked(make(entry("zeros", bytes(LIMIT))), tmp_path) == LIMIT


def test_too_many_entries(tmp_path, monkeypatch):
    monkeypatch.setattr("forerun.control.packaging.packages.MAX_ENTRIES", 10)
    with pytest.raises(PackageInvalid, match="11 entries"):
        unpacked(make(*(entry(f"f{i}") for i in range(11))), tmp_path)


def test_an_empty_zip(tmp_path):
    with pytest.raises(PackageInvalid, match="non-empty"):
        unpacked(b"PK\x05\x06" + bytes(18), tmp_path)


@pytest.mark.parametrize("junk", [b"x", b"PK\x03\x04", bytes(100)])
def test_what_is_no_zip(tmp_path, junk):
    with pytest.raises(PackageInvalid, match="Could not unzip uploaded file"):
        unpacked(junk, tmp_path)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_zip_is_refused_or_unpacked_inside_but_never_a_crash(data, tmp_path_factory):
    package = bytearray(
        make(entry("a/b", b"content" * 20), entry("link", b"a/b", 0o120777), entry("c"))
    )
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(package) - 1))
        package[place] = data.draw(st.integers(0, 255))
    target = tmp_path_factory.mktemp("damaged")
    try:
        unpacked(bytes(package), target)
    except InvalidInput:
        return
    for path in target.rglob("*"):
        assert path.resolve().is_relative_to(target) or not path.exists()


@pytest.fixture
async def store(tmp_path):
    store = CodeStore(tmp_path, clock=FakeClock(), zipped_limit=1 << 20, unzipped_limit=LIMIT)
    await store.start()
    return store


async def test_equal_packages_are_kept_once(store, tmp_path):
    package = make(entry("app.py", b"code"))
    first, again = await store.put(package), await store.put(package)
    assert first == again
    assert first.unpacked_size == 4
    assert [path.name for path in (tmp_path / "trees").iterdir()] == [first.digest]
    assert store.blob_path(first.digest).read_bytes() == package
    assert stat.S_IMODE(store.blob_path(first.digest).stat().st_mode) == 0o600
    assert everything(store.path(first.digest)) == {"app.py": ("0o444", b"code")}


async def test_a_bad_package_leaves_nothing(store, tmp_path):
    for package in (b"", b"junk", make(entry("ok"), entry("zeros", bytes(LIMIT)))):
        with pytest.raises(InvalidInput):
            await store.put(package)
    assert list((tmp_path / "trees").iterdir()) == list((tmp_path / "code").iterdir()) == []


async def test_layers_are_merged_in_order(store):
    low = await store.put(make(entry("same", b"low"), entry("low", b"l"), entry("x/file", b"dir")))
    high = await store.put(make(entry("same", b"high"), entry("x", b"now a file")))
    merged = await store.merge([low.digest, high.digest])
    assert everything(store.path(merged)) == {
        "same": ("0o444", b"high"),
        "low": ("0o444", b"l"),
        "x": ("0o444", b"now a file"),
    }
    assert await store.merge([low.digest, high.digest]) == merged
    assert await store.merge([high.digest, low.digest]) != merged
    assert await store.merge([low.digest]) == low.digest
    assert await store.merge([]) is None


async def test_what_an_interrupted_server_left_is_removed(store, tmp_path):
    (tmp_path / "trees" / ".unpacking-1" / "d").mkdir(parents=True)
    (tmp_path / "code" / ".writing-1").write_bytes(b"half")
    kept = await store.put(make(entry("kept")))
    await store.start()
    assert [path.name for path in (tmp_path / "trees").iterdir()] == [kept.digest]
    assert [path.name for path in (tmp_path / "code").iterdir()] == [f"{kept.digest}.zip"]


async def test_a_disk_that_takes_nothing_is_said(store, tmp_path):
    os.rename(tmp_path / "trees", tmp_path / "elsewhere")
    with pytest.raises(StorageFailed, match="cannot be stored"):
        await store.put(make(entry("app.py")))


async def test_code_that_was_put_again_is_not_discarded(tmp_path):
    clock = FakeClock()
    store = CodeStore(tmp_path, clock=clock, zipped_limit=1 << 20, unzipped_limit=LIMIT)
    await store.start()
    stored = await store.put(make(entry("app.py")))
    assert not await store.discard(stored.digest)
    await clock.advance(4000)
    assert await store.digests() == {stored.digest}
    await store.put(make(entry("app.py")))
    assert not await store.discard(stored.digest)
    await clock.advance(4000)
    assert await store.discard(stored.digest)
    assert not os.path.exists(store.path(stored.digest))
    assert not store.blob_path(stored.digest).exists()
    assert await store.digests() == set()


async def test_what_hosts_made_of_a_tree_goes_with_it(tmp_path):
    clock = FakeClock()
    store = CodeStore(tmp_path, clock=clock, zipped_limit=1 << 20, unzipped_limit=LIMIT)
    await store.start()
    stored = await store.put(make(entry("app.py")))
    other = await store.put(make(entry("other.py")))
    for digest in (stored.digest, other.digest, "orphan"):
        (tmp_path / "trees" / f"{digest}.task-python3.11-1").write_bytes(b"bytecode")
    await clock.advance(4000)
    assert await store.digests() == {stored.digest, other.digest, "orphan"}
    assert await store.discard(stored.digest)
    assert await store.discard("orphan")
    left = {path.name for path in (tmp_path / "trees").iterdir()}
    assert left == {other.digest, f"{other.digest}.task-python3.11-1"}
