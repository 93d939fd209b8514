"""Packages in the form they are kept in, and the trees that sandboxes mount, made of them and of objects.

``CODE/DIGEST.zip`` is a package as uploaded, ``CODE/DIGEST.parts`` the recipe that makes the same of objects (a
collection); for a while there may be both. ``TREES/DIGEST/`` is either of them unpacked, and is made again when it is
missing. Everything here blocks and is called from threads.
"""

import io
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from forerun.control.packaging import recipes
from forerun.control.packaging.distributions import Part, find_parts
from forerun.control.packaging.objects import ObjectCorrupt, ObjectStore, look, look_at
from forerun.control.packaging.packages import Seen, unpack
from forerun.control.packaging.whole import overlay, publish, relink, remove, sync_tree, write_whole
from forerun.storage.vault import NO_VAULT, Vault


class Contents(NamedTuple):
    """What a package holds: all regular files and their bytes unpacked, and the distributions among them."""

    files: int
    size: int
    parts: list[Part]


class Trees:
    """Builds, splits and joins below the two directories."""

    def __init__(self, code: Path, trees: Path, *, limit: int, vault: Vault = NO_VAULT) -> None:
        self.objects = ObjectStore(code, trees, limit=limit, vault=vault)
        self._vault = vault
        self._code = code
        self._trees = trees
        self._limit = limit

    def zip_path(self, digest: str) -> Path:
        """The package as uploaded."""
        return self._code / f"{digest}.zip"

    def recipe_path(self, digest: str) -> Path:
        """The package as a collection."""
        return self._code / f"{digest}.parts"

    def layers_path(self, digest: str) -> Path:
        """Which layers a merged tree is made of."""
        return self._code / f"{digest}.layers"

    def tree(self, digest: str) -> Path:
        """The unpacked tree."""
        return self._trees / digest

    def open(self, digest: str) -> BinaryIO:
        """The package's zip, from whichever form there is. Raises ``FileNotFoundError``, ``ObjectCorrupt``."""
        self.obtain(digest)
        try:
            return self.zip_path(digest).open("rb")
        except FileNotFoundError:
            return recipes.open_package(self.recipe_path(digest), self.objects)

    def obtain(self, digest: str) -> bool:
        """Whether the disk has a package in one form or the other; brought from elsewhere, in the form that it has there."""
        if self.zip_path(digest).exists():
            return True
        self._vault.follow(self.recipe_path(digest))
        return self.recipe_path(digest).exists() or self._vault.bring(self.zip_path(digest))

    def read(self, digest: str) -> bytes:
        """The package as it was uploaded, byte for byte. Raises ``FileNotFoundError``, ``ObjectCorrupt``."""
        self.obtain(digest)
        if self.zip_path(digest).exists():
            return self.zip_path(digest).read_bytes()
        path = self.recipe_path(digest)
        try:
            return recipes.read_package(path, self.objects)
        except ObjectCorrupt:
            for name, _ in recipes.read_recipe(path)[0].objects:
                self.objects.repair(name)
            return recipes.read_package(path, self.objects)

    def build(self, digest: str, package: bytes, scope: str) -> tuple[int, Contents]:
        """Unpack a new package, taking from objects that this host has what they have; its bytes and what it holds."""
        seen: dict[str, Seen] = {}
        with self._unfinished(digest) as tree:
            size = unpack(io.BytesIO(package), tree, limit=self._limit, seen=seen)
            parts = find_parts(tree, seen, scope)
            for part in parts:
                if self.objects.tree(part.object).exists() and self.objects.check(part.object):
                    self._relink(tree, part.root, self.objects.tree(part.object), part.files)
        return size, Contents(len(seen), sum(file.size for file in seen.values()), parts)

    def merge(self, digest: str, layers: Sequence[str]) -> None:
        """One tree of several layers, later ones over earlier ones; their files get further names."""
        write_whole(self.layers_path(digest), (msgspec.json.encode(list(layers)),))
        self._vault.keep(self.layers_path(digest))
        with self._unfinished(digest) as tree:
            for layer in layers:
                if not self.tree(layer).is_dir():
                    self.restore(layer)
                overlay(self.tree(layer), tree)

    def restore(self, digest: str) -> None:
        """Make a missing tree again from what is kept. Raises ``FileNotFoundError`` when nothing is."""
        if self._vault.bring(self.layers_path(digest)):
            layers = msgspec.json.decode(self.layers_path(digest).read_bytes(), type=list[str])
            self.merge(digest, layers)
            return
        self.obtain(digest)
        try:
            self._restore_collection(digest)
        except (FileNotFoundError, ObjectCorrupt):
            # Not split, or not to be had that way while the single file is there still.
            self._vault.bring(self.zip_path(digest))
            with self._unfinished(digest) as tree, self.zip_path(digest).open("rb") as package:
                unpack(package, tree, limit=self._limit)

    def _restore_collection(self, digest: str) -> None:
        recipe, _ = recipes.read_recipe(self.recipe_path(digest))
        with self._unfinished(digest) as tree:
            brought = [
                (root, self.objects.unpack(name)) for name, root in dict.fromkeys(recipe.objects)
            ]
            elsewhere = {
                f"{root}/{file}" if root else file
                for root, source in brought
                for file in _files(source)
            }
            with self.open(digest) as package:
                unpack(package, tree, limit=self._limit, without=elsewhere)
            for root, source in brought:
                (tree / root).mkdir(parents=True, exist_ok=True)
                overlay(source, tree / root)

    def contents(self, digest: str, scope: str) -> Contents:
        """What a tree holds. Raises ``FileNotFoundError`` when it is missing."""
        seen = look(self.tree(digest))
        size = sum(file.size for file in seen.values())
        return Contents(len(seen), size, find_parts(self.tree(digest), seen, scope))

    def split(self, digest: str, parts: Sequence[Part]) -> None:
        """Make a collection of a package: these objects, and the rest; its tree has its files in common with them.

        The single file stays, too, until ``tidy``. Raises ``ObjectCorrupt``, ``FileNotFoundError``; then nothing changed.
        """
        if not self.tree(digest).is_dir():
            self.restore(digest)
        package = self.read(digest)
        if new := [part for part in parts if not self.objects.has(part.object)]:
            paths = [path for part in new for path in part.paths()]
            seen = look_at(self.tree(digest), paths)
            recipes.pack(package, new, seen, self.objects, limit=self._limit)
        recipes.split(package, self.recipe_path(digest), parts, self.objects, limit=self._limit)
        self._vault.keep(self.recipe_path(digest), replace=True)
        for part in parts:
            self._attach(digest, part)

    def keep_apart(self, digest: str, package: bytes, parts: Sequence[Part]) -> bool:
        """Keep a new package as a collection at once; false when it has to be kept as one file."""
        try:
            recipes.split(package, self.recipe_path(digest), parts, self.objects, limit=self._limit)
        except (ObjectCorrupt, FileNotFoundError, KeyError):
            return False
        self._vault.keep(self.recipe_path(digest), replace=True)
        return True

    def mend(self, digest: str, name: str) -> None:
        """Give the tree the files of an object that was made again. Raises as ``ObjectStore.unpack`` does."""
        self.objects.unpack(name)
        self._vault.follow(self.recipe_path(digest))
        recipe, _ = recipes.read_recipe(self.recipe_path(digest))
        source = self.objects.tree(name)
        for found, root in recipe.objects:
            if found == name and self.tree(digest).is_dir():
                self._relink(self.tree(digest), root, source, _files(source))

    def join(self, digest: str) -> None:
        """Make the single file of a collection again; its tree stays as it is."""
        recipe = self.recipe_path(digest)
        self._vault.follow(recipe)
        if not recipe.exists():
            return
        if not self.zip_path(digest).exists():
            write_whole(self.zip_path(digest), (self.read(digest),))
        self._vault.keep(self.zip_path(digest))
        self._vault.drop(recipe)
        recipe.unlink()

    def tidy(self, digest: str, before: float) -> bool:
        """Remove the single file of what has been a collection since before that time (epoch seconds)."""
        recipe, single = self.recipe_path(digest), self.zip_path(digest)
        try:
            if recipe.stat().st_mtime > before or not single.exists():
                return False
        except FileNotFoundError:
            return False
        self._vault.drop(single)
        single.unlink()
        return True

    def _attach(self, digest: str, part: Part) -> None:
        tree, source = self.tree(digest), self.objects.tree(part.object)
        if all(_is_same(source / file, tree / part.root / file) for file in part.files):
            return
        if not self.objects.check(part.object):
            self.objects.adopt(part.object, tree / part.root, part.files)
        self._relink(tree, part.root, self.objects.unpack(part.object), part.files)

    def _relink(self, tree: Path, root: str, source: Path, files: Collection[str]) -> None:
        with tempfile.TemporaryDirectory(prefix=".linking-", dir=self._trees) as spare:
            target = tree / root
            for file in files:
                relink(f"{source}/{file}", f"{target}/{file}", f"{spare}/file")

    @contextmanager
    def _unfinished(self, digest: str) -> Iterator[Path]:
        """A folder that becomes the tree when it was filled without an error."""
        unfinished = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=self._trees))
        try:
            yield unfinished
            unfinished.chmod(0o755)
            sync_tree(unfinished)
            publish(unfinished, self.tree(digest))
        finally:
            remove(unfinished)


def _is_same(one: Path, other: Path) -> bool:
    try:
        seen = one.stat()
        return not seen.st_size or os.path.samestat(seen, other.stat())
    except FileNotFoundError:
        return False


def _files(folder: Path) -> list[str]:
    start = len(str(folder)) + 1
    return [
        f"{directory}/{name}"[start:] for directory, _, names in os.walk(folder) for name in names
    ]
