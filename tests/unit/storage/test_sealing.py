import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.errors import StorageFailed
from forerun.storage.sealing import KEY_BYTES, Sealer, load_or_create_key

SEALER = Sealer(bytes(range(KEY_BYTES)))


@given(data=st.binary(max_size=200), context=st.binary(max_size=20))
def test_opens_what_it_sealed(data, context):
    sealed = SEALER.seal(data, context)
    assert SEALER.open(sealed, context) == data
    assert data not in sealed or len(data) < 4
    assert SEALER.seal(data, context) != sealed


@given(data=st.binary(min_size=1, max_size=50), where=st.integers(0), flip=st.integers(1, 255))
def test_any_changed_byte_is_noticed(data, where, flip):
    sealed = bytearray(SEALER.seal(data))
    sealed[where % len(sealed)] ^= flip
    with pytest.raises(StorageFailed, match="restore"):
        SEALER.open(bytes(sealed))


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\x01", b"\x02" + bytes(40), SEALER.seal(b"secret")[:-1]],
    ids=["empty", "short", "another version", "cut"],
)
def test_cut_or_foreign_data_is_explained(damaged):
    with pytest.raises(StorageFailed, match="restore"):
        SEALER.open(damaged)


def test_context_and_key_bind():
    sealed = SEALER.seal(b"secret", b"row 1")
    with pytest.raises(StorageFailed):
        SEALER.open(sealed, b"row 2")
    with pytest.raises(StorageFailed, match="key file"):
        Sealer(bytes(KEY_BYTES)).open(sealed, b"row 1")


def test_derived_keys_differ_by_purpose():
    assert SEALER.derive(b"a") == SEALER.derive(b"a")
    assert len({SEALER.derive(b"a"), SEALER.derive(b"b"), Sealer(bytes(32)).derive(b"a")}) == 3


def test_a_key_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="32"):
        Sealer(b"short")


def test_key_file_is_made_once_and_private(tmp_path):
    path = tmp_path / "key"
    key = load_or_create_key(path)
    assert len(key) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_key(path) == key
    assert os.listdir(tmp_path) == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_key_file_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "key"
    load_or_create_key(path)
    path.chmod(mode)
    with pytest.raises(StorageFailed, match="chmod 600"):
        load_or_create_key(path)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_key_file_is_not_replaced(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StorageFailed, match="backup"):
        load_or_create_key(path)
    assert path.read_bytes() == content


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(StorageFailed, match="nowhere"):
        load_or_create_key(tmp_path / "nowhere" / "key")
