"""Packages as collections: the same files and bytes as the zip, whatever comes between; on a real disk."""

import os
import stat
from pathlib import Path

import pytest
from tests.unit.control.owned import ACCOUNT, OTHER, Owned, make_zip, open_estate

from forerun.control.packaging.code import CodeStore
from forerun.errors import NotFound, StorageFailed
from forerun.settings import PackagingSettings

LIMIT = 64 << 20
LARGE = 3 << 20


def wheel(name="heavy", version="1.0", *, root="", size=LARGE, seed=b"x"):
    """An installed distribution of that many bytes; equal for equal arguments."""
    body = b"".join(bytes([number % 251]) * 17 + seed for number in range(size // (17 + len(seed))))
    files = {
        f"{root}{name}/__init__.py": f"NAME = '{name}'\n",
        f"{root}{name}/data.bin": body,
        f"{root}{name}/empty.py": b"",
        f"{root}{name}-{version}.dist-info/METADATA": f"Name: {name}\nVersion: {version}\n",
    }
    record = "".join(f"{path.removeprefix(root)},,\n" for path in files)
    cached = {f"{root}{name}/__pycache__/m.pyc": os.urandom(20)}
    return files | cached | {f"{root}{name}-{version}.dist-info/RECORD": record}


def handler(number):
    return {"app.py": f"import heavy\nNUMBER = {number}\n"}


def look(tree):
    """Paths, modes and contents below a folder; links with where they lead."""
    found = {}
    for path in sorted(Path(tree).rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        name = str(path.relative_to(tree))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = (mode, path.read_bytes() if path.is_file() else None)
    return found


def inode(store, digest, name="heavy/data.bin"):
    return Path(store.path(digest), name).stat().st_ino


@pytest.fixture
async def store(tmp_path, clock):
    store = CodeStore(tmp_path, clock=clock, zipped_limit=LIMIT, unzipped_limit=LIMIT)
    await store.start()
    return store


@pytest.fixture
async def pair(store):
    """Two packages with a distribution in common, both split."""
    packages = [make_zip(wheel() | handler(number)) for number in range(2)]
    digests = [(await store.put(package, ACCOUNT)).digest for package in packages]
    for digest in digests:
        [part] = (await store.contents(digest, ACCOUNT)).parts
        await store.split(digest, ACCOUNT, {part.object})
    return packages, digests, part.object


async def test_a_collection_is_the_same_package_byte_for_byte(store, pair, tmp_path):
    packages, digests, _ = pair
    for package, digest in zip(packages, digests, strict=True):
        assert await store.tidy(digest, 1e12)
        assert await store.read(digest) == package
    assert inode(store, digests[0]) == inode(store, digests[1])
    assert inode(store, digests[0], "app.py") != inode(store, digests[1], "app.py")
    stored = sum(path.stat().st_size for path in (tmp_path / "code").rglob("*.*"))
    assert stored < 1.2 * len(packages[0])


async def test_trees_are_the_same_however_they_come_about(store, pair, tmp_path):
    packages, digests, _ = pair
    for package, digest in zip(packages, digests, strict=True):
        plain = tmp_path / f"plain-{digest}"
        other = CodeStore(plain, clock=store._clock, zipped_limit=LIMIT, unzipped_limit=LIMIT)
        await other.start()
        expected = look(other.path((await other.put(package)).digest))
        assert look(store.path(digest)) == expected
        await store.tidy(digest, 1e12)
        os.rename(store.path(digest), tmp_path / f"gone-{digest}")
        await store.bring(store.path(digest))
        assert look(store.path(digest)) == expected


async def test_a_third_package_takes_from_the_host_what_it_has(store, pair):
    package = make_zip(wheel() | handler(3))
    third = (await store.put(package, ACCOUNT)).digest
    assert inode(store, third) == inode(store, pair[1][0])
    assert not store.blob_path(third).exists()
    assert await store.read(third) == package


async def test_accounts_have_nothing_in_common(store, pair, tmp_path, clock):
    packages, digests, _ = pair
    foreign = await store.put(packages[0], OTHER)
    assert foreign.digest not in digests
    assert inode(store, foreign.digest) != inode(store, digests[0])
    shared = CodeStore(
        tmp_path / "shared",
        clock=clock,
        zipped_limit=LIMIT,
        unzipped_limit=LIMIT,
        share_accounts=True,
    )
    await shared.start()
    both = [(await shared.put(packages[0], account)).digest for account in (ACCOUNT, OTHER)]
    assert both[0] == both[1]


async def test_one_file_again(store, pair):
    packages, digests, _ = pair
    await store.tidy(digests[0], 1e12)
    assert not store.blob_path(digests[0]).exists()
    await store.join(digests[0])
    assert store.blob_path(digests[0]).read_bytes() == packages[0]
    assert not store.is_collection(digests[0])


async def test_a_damaged_object_is_made_again_and_never_used(store, pair):
    _, digests, name = pair
    file = store.objects.tree(name) / "heavy/data.bin"
    file.chmod(0o644)
    with file.open("r+b") as damaged:
        damaged.write(b"changed")
    third = (await store.put(make_zip(wheel() | handler(3)), ACCOUNT)).digest
    assert Path(store.path(third), "heavy/data.bin").read_bytes() == wheel()["heavy/data.bin"]
    assert store.objects.damaged == {name}
    # The trees that have the damaged file get the sound one.
    for digest in digests:
        await store.mend(digest, name)
        assert Path(store.path(digest), "heavy/data.bin").read_bytes() == wheel()["heavy/data.bin"]
    assert inode(store, digests[0]) == inode(store, digests[1])


@pytest.mark.parametrize("where", [0.5, 0.999], ids=["middle", "end"])
async def test_a_damaged_stored_object_is_made_again_of_the_unpacked_one(store, pair, where):
    packages, digests, name = pair
    for digest in digests:
        await store.tidy(digest, 1e12)
    path = store.objects.path(name)
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 0xFF
    path.write_bytes(content)
    assert not store.objects.is_whole(name)
    assert await store.read(digests[0]) == packages[0]
    assert store.objects.is_whole(name)


async def test_what_cannot_be_made_again_is_refused(store, pair, tmp_path):
    _, digests, name = pair
    for digest in digests:
        await store.tidy(digest, 1e12)
    store.objects.path(name).write_bytes(b"\0\0\0\2[]and more")
    store.objects.forget(name)
    with pytest.raises(StorageFailed, match="A package ends before it should"):
        await store.read(digests[0])
    os.rename(store.path(digests[0]), tmp_path / "gone")
    with pytest.raises(StorageFailed, match=digests[0]):
        await store.bring(store.path(digests[0]))
    assert not Path(store.path(digests[0])).exists()


@pytest.mark.parametrize(
    "record",
    ["../app.py,,\n/etc/passwd,,\n", "\0,\n", '"', "app.py,,\n" * 3, "heavy,,\nheavy/,,\n", ""],
    ids=["outside", "nul", "quote", "foreign", "folders", "empty"],
)
async def test_records_that_lie_do_no_harm(store, record):
    files = wheel() | handler(1) | {"heavy-1.0.dist-info/RECORD": record}
    package = make_zip(files)
    stored = await store.put(package, ACCOUNT)
    parts = (await store.contents(stored.digest, ACCOUNT)).parts
    await store.split(stored.digest, ACCOUNT, {part.object for part in parts})
    await store.tidy(stored.digest, 1e12)
    assert await store.read(stored.digest) == package


async def test_distributions_are_found_where_they_are(store):
    files = {
        **wheel("one"),
        **wheel("Two_b", "2.1", root="python/lib/python3.11/site-packages/"),
        "node_modules/left/package.json": '{"version": "3.1.4"}',
        "node_modules/left/index.js": "1",
        "node_modules/left/node_modules/@in/ner/package.json": "not json",
        "node_modules/left/node_modules/@in/ner/index.js": "2",
        "old.egg-info/top_level.txt": "old",
        "egg-1.5-py3.11.egg-info/installed-files.txt": "../egg/__init__.py\nPKG-INFO\n",
        "egg-1.5-py3.11.egg-info/PKG-INFO": "x",
        "egg/__init__.py": "3",
    }
    stored = await store.put(make_zip(files), ACCOUNT)
    found = await store.contents(stored.digest, ACCOUNT)
    assert {(part.name, part.version, part.root, len(part.files)) for part in found.parts} == {
        ("one", "1.0", "", 4),
        ("two-b", "2.1", "python/lib/python3.11/site-packages", 4),
        ("left", "3.1.4", "node_modules", 2),
        ("@in/ner", "", "node_modules/left/node_modules", 2),
        ("egg", "1.5", "", 2),
    }
    assert found.files == len(files)


async def test_the_same_distribution_in_a_layer_and_a_package_is_one_object(store):
    first = await store.put(make_zip(wheel()), ACCOUNT)
    layer = await store.put(make_zip(wheel(root="python/")), ACCOUNT)
    objects = {
        part.object
        for stored in (first, layer)
        for part in (await store.contents(stored.digest, ACCOUNT)).parts
    }
    assert len(objects) == 1


async def test_merged_layers_take_up_no_room_of_their_own(store, tmp_path):
    one = await store.put(make_zip({"d/f": "lower", "only": "1", "x": "file"}), ACCOUNT)
    two = await store.put(make_zip({"d/f": "upper", "x/y": "inside"}), ACCOUNT)
    merged = await store.merge([one.digest, two.digest])
    tree = Path(store.path(merged))
    assert (tree / "d/f").read_text() == "upper"
    assert (tree / "x/y").read_text() == "inside"
    assert (tree / "only").samefile(Path(store.path(one.digest), "only"))
    before = look(tree)
    os.rename(tree, tmp_path / "gone")
    await store.bring(str(tree))
    assert look(tree) == before


async def test_a_package_that_is_gone(store):
    with pytest.raises(NotFound):
        await store.read("0" * 64)
    with pytest.raises(StorageFailed, match="cannot be brought"):
        await store.bring(store.path("0" * 64))


async def test_an_interrupted_split_leaves_the_single_file(
    store, pair, tmp_path, clock, monkeypatch
):
    package = make_zip(wheel(seed=b"other") | handler(9))
    digest = (await store.put(package, ACCOUNT)).digest
    [part] = (await store.contents(digest, ACCOUNT)).parts

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("forerun.control.packaging.recipes.write_whole", fail)
        with pytest.raises(StorageFailed, match="No space"):
            await store.split(digest, ACCOUNT, {part.object})
    assert not store.is_collection(digest)
    assert await store.read(digest) == package
    again = CodeStore(tmp_path, clock=clock, zipped_limit=LIMIT, unzipped_limit=LIMIT)
    await again.start()
    assert await again.read(digest) == package


# With the database


@pytest.fixture
async def owned(tmp_path, clock):
    packaging = PackagingSettings(transfer_mb_s=100, file_ms=1, grace_s=60)
    db, estate = await open_estate(tmp_path / "estate", clock, packaging=packaging)
    yield estate
    await db.close()


@pytest.mark.databases
async def test_popularity_decides_and_nothing_in_use_is_thrown_away(owned, clock, tmp_path):
    aws, packager = Owned(owned), owned.packager
    packages = {f"f{number}": make_zip(wheel() | handler(number)) for number in range(2)}

    async def form(name):
        await packager._attend(ACCOUNT, name)
        shown = (await packager.describe(ACCOUNT, name))["Packages"][0]
        return shown["Form"], shown["Delivered"][0]["OtherFunctions"]

    await aws.create("f0", Code={"ZipFile": packages["f0"]})
    assert await form("f0") == ("single", 0)
    await aws.create("f1", Code={"ZipFile": packages["f1"]})
    assert await form("f1") == ("collection", 1)
    assert await form("f0") == ("collection", 1)
    digests = {}
    for name in packages:
        digests[name] = (await owned.functions.get(ACCOUNT, name))[1].code_digest
    assert all(owned.code.blob_path(digest).exists() for digest in digests.values())
    await clock.advance(100)
    await owned.sweep()
    assert not any(owned.code.blob_path(digest).exists() for digest in digests.values())
    [name] = owned.code.objects.names()
    await clock.advance(10_000)
    await owned.sweep()
    assert owned.code.objects.names() == {name}
    # Popularity falls: the one that is left becomes one file again, and the object goes, an hour later.
    await aws.delete_function(FunctionName="f1")
    await owned.sweep()
    assert await form("f0") == ("single", 0)
    assert await owned.code.read(digests["f0"]) == packages["f0"]
    for _ in range(4):
        await clock.advance(4000)
        await owned.sweep()
    assert await owned.code.read(digests["f0"]) == packages["f0"]
    assert not Path(owned.code.path(digests["f1"])).exists()


@pytest.mark.databases
async def test_collections_are_known_of_when_the_database_forgot_them(owned, clock):
    aws, packager = Owned(owned), owned.packager
    package = make_zip(wheel() | handler(1))
    await aws.create("f", Code={"ZipFile": package})
    digest = (await owned.functions.get(ACCOUNT, "f"))[1].code_digest
    [part] = (await owned.code.contents(digest, ACCOUNT)).parts
    await owned.code.split(digest, ACCOUNT, {part.object})
    await owned.code.tidy(digest, 1e12)
    await packager._recover()
    for _ in range(3):
        await clock.advance(10_000)
        await packager._collect()
    assert await owned.code.read(digest) == package


async def test_layers_in_two_versions_are_told_and_bad_ones_refused(owned, refused):
    aws = Owned(owned)
    layer = await aws.publish_layer_version(
        LayerName="deps", Content={"ZipFile": make_zip(wheel(version="0.9", root="python/"))}
    )
    await aws.create("f", Code={"ZipFile": make_zip(wheel())}, Layers=[layer["LayerVersionArn"]])
    shown = await owned.packager.describe(ACCOUNT, "f")
    assert shown["Warnings"] == [
        "heavy 0.9 of layer deps:1 is hidden by heavy 1.0 of the function's package"
    ]
    assert [each["Package"] for each in shown["Packages"]] == [
        "the function's package",
        "layer deps:1",
    ]
    missing = layer["LayerVersionArn"][:-1] + "7"
    await refused(
        aws.create("g", Layers=[missing]), "InvalidParameterValueException", "does not exist"
    )
    with pytest.raises(NotFound):
        await owned.packager.describe(ACCOUNT, "g")
