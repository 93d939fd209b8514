"""Secrets at rest: sealed with AES-256-GCM under one key file that only its owner can read.

Sealed bytes are ``version:u8 nonce:12 ciphertext+tag``. What was sealed with a context opens only with the same
context, so that a secret cannot be moved to another row. A copy of the database without the key file reveals nothing;
whoever has both has everything: the key file is the thing to back up and to guard.

The keys that notifications are signed with are made and used here, too: nothing else of the platform does cryptography.
"""

import hmac
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from forerun.errors import StorageFailed
from forerun.storage.synced import sync

_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16
KEY_BYTES = 32
_RSA_BITS = 2048
_CERTIFIED = timedelta(days=3650)


class Sealer:
    """Seals and opens small secrets. Fast (a few microseconds), stateless, safe to share."""

    def __init__(self, key: bytes) -> None:
        """``key``: 32 random bytes; ``ValueError`` for another length."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"the sealing key must have {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._cipher = AESGCM(key)

    def seal(self, data: bytes, context: bytes = b"") -> bytes:
        """Encrypt ``data``; equal data never gives equal results."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, data, context)

    def open(self, sealed: bytes, context: bytes = b"") -> bytes:
        """What was sealed; ``StorageFailed`` when it was changed, or sealed with another key or context."""
        if len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES or sealed[:1] != _VERSION:
            raise StorageFailed(
                "A sealed value is damaged or of an unknown version; restore the database from its backup"
            )
        try:
            return self._cipher.decrypt(
                sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :], context
            )
        except InvalidTag:
            raise StorageFailed(
                "A sealed value cannot be opened: it is damaged, or the key file is not the one it was sealed with; "
                "restore the key file that belongs to this database"
            ) from None

    def derive(self, purpose: bytes) -> bytes:
        """Another 32-byte key for one purpose; it reveals neither this key nor those of other purposes."""
        return hmac.digest(self._key, b"forerun/derive/" + purpose, "sha256")


class SigningPair:
    """An RSA key, and the certificate (PEM) that others check its signatures with."""

    def __init__(self, private_key: bytes, certificate: bytes) -> None:
        """``private_key``: PKCS 8, DER; it is a secret."""
        self.private_key = private_key
        self.certificate = certificate
        loaded = serialization.load_der_private_key(private_key, None)
        self._key = cast("rsa.RSAPrivateKey", loaded)

    def sign(self, text: bytes, *, sha256: bool) -> bytes:
        """A PKCS 1 signature over SHA-256, or over SHA-1 for those who know nothing else; about 0.7 ms."""
        # SHA-1 is what AWS's first version of signatures is; who wants the second one asks for it.
        digest = hashes.SHA256() if sha256 else hashes.SHA1()  # noqa: S303
        return self._key.sign(text, padding.PKCS1v15(), digest)


def make_signing_pair(host: str, now: float) -> SigningPair:
    """A new pair with a certificate that says it is ``host``'s, by itself and for ten years; a tenth of a second's work."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host[:64])])
    moment = datetime.fromtimestamp(now, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + _CERTIFIED)
        .sign(key, hashes.SHA256())
    )
    return SigningPair(
        key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )


def load_or_create_key(path: Path) -> bytes:
    """The key kept in ``path``; made with mode 0600 when the file is not there.

    Raises ``StorageFailed`` when others than the owner may use the file, or when it does not hold a key.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageFailed(f"The key file {path} cannot be read: {error.strerror}") from error
    try:
        return _create(path)
    except OSError as error:
        raise StorageFailed(f"The key file {path} cannot be written: {error.strerror}") from error


def keep_key(path: Path, key: bytes) -> None:
    """Keep a key that was made elsewhere. Raises ``StorageFailed`` when there is another one, or it cannot be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = _load(path) if path.exists() else _create(path, key)
    except OSError as error:
        raise StorageFailed(f"The key file {path} cannot be written: {error.strerror}") from error
    if not hmac.compare_digest(kept, key):
        raise StorageFailed(
            f"The key file {path} holds another key; start with another data directory (--data), or remove the file if nothing was sealed with it"
        )


def _load(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise StorageFailed(f"The key file {path} is not a regular file")
        if mode & 0o077:
            raise StorageFailed(
                f"The key file {path} may be used by others (mode {stat.S_IMODE(mode):04o}); "
                f"run: chmod 600 {path}"
            )
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise StorageFailed(
            f"The key file {path} does not hold a key of {KEY_BYTES} bytes; restore it from its backup"
        )
    return key


def _create(path: Path, given: bytes = b"") -> bytes:
    """Written aside and linked into place: a crash leaves no half a key, of two starters one wins."""
    key = given or os.urandom(KEY_BYTES)
    aside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(aside, path)
        except FileExistsError:
            return _load(path)
    finally:
        aside.unlink()
    sync(path.parent)
    return key
