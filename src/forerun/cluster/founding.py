"""The first control plane makes the cluster's authority; of two that try at once one does, and the other is told what to do."""

import secrets
from pathlib import Path

from forerun.aio import Clock
from forerun.cluster.trust import Authority, make_authority
from forerun.errors import AlreadyExists, SetupFailed, StorageFailed
from forerun.storage.sealing import Sealer, keep_key, load_or_create_key
from forerun.storage.trust import KeptTrust, TrustStore

_JOIN = (
    "make a token on a control plane that runs (forerun token create --role control), "
    "and start this one with --token"
)


async def open_trust(
    store: TrustStore, key_path: Path, clock: Clock
) -> tuple[Authority, KeptTrust, bytes]:
    """The authority of this database's cluster, made when nobody has founded it; what is kept of it, and the sealing key.

    Raises ``SetupFailed`` when the cluster is another machine's and this one has not joined it.
    """
    if await store.authority():
        return await _opened(store, _kept_key(key_path))
    sealing_key = load_or_create_key(key_path)
    made = make_authority(now=clock.now())
    trust = KeptTrust(made.pem, made.key, secrets.token_hex(32), "")
    try:
        await store.found(trust, Sealer(sealing_key), now=clock.now())
    except AlreadyExists:
        # Somebody was quicker. With the same key it is this very cluster, else another machine has just founded it.
        return await _opened(store, sealing_key)
    return made, trust, sealing_key


def _kept_key(path: Path) -> bytes:
    if not path.exists():
        raise SetupFailed(f"This database belongs to a cluster already: {_JOIN}")
    return load_or_create_key(path)


async def _opened(store: TrustStore, sealing_key: bytes) -> tuple[Authority, KeptTrust, bytes]:
    try:
        trust = await store.open(Sealer(sealing_key))
    except StorageFailed as error:
        raise SetupFailed(
            f"This database belongs to a cluster that was founded with another sealing key: {_JOIN}"
        ) from error
    return Authority(trust.authority_pem, trust.key), trust, sealing_key


def take_sealing_key(path: Path, key: bytes) -> None:
    """Keep the cluster's sealing key, which a control plane got when it joined. Raises ``SetupFailed`` when there is another."""
    try:
        keep_key(path, key)
    except StorageFailed as error:
        raise SetupFailed(error.message) from error
