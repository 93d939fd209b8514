"""Signs notifications, with one pair of keys for the whole server."""

import asyncio
import base64
import hashlib
from urllib.parse import urlsplit

from forerun.aio import Clock
from forerun.sources.topics.notifications import CERTIFICATE_PATH, Notification, Seal, signed_text
from forerun.storage.sealing import SigningPair
from forerun.storage.topics import TopicStore


class Signatory:
    """Has the pair, which is made when it is needed first."""

    def __init__(self, store: TopicStore, base_url: str, clock: Clock) -> None:
        self._store = store
        self._base_url = base_url
        self._clock = clock
        self._pair: SigningPair | None = None
        self._name = ""
        self._making = asyncio.Lock()

    async def ready(self) -> None:
        """Return when there is a pair; ``seal`` works from then on."""
        if self._pair is None:
            async with self._making:
                host = urlsplit(self._base_url).hostname or "localhost"
                pair = await self._store.signing_pair(host, self._clock.now())
                self._name = hashlib.sha256(pair.certificate).hexdigest()[:32]
                self._pair = pair

    def seal(self, notification: Notification, version: str) -> Seal:
        """The signature of a notification, of version ``1`` (SHA-1) or ``2`` (SHA-256)."""
        if self._pair is None:
            raise RuntimeError("the signatory is asked before it is ready")
        signature = self._pair.sign(signed_text(notification), sha256=version == "2")
        return Seal(
            signature=base64.b64encode(signature).decode(),
            version=version,
            certificate_url=f"{self._base_url}{CERTIFICATE_PATH}{self._name}.pem",
        )

    async def certificate(self, path: str) -> bytes | None:
        """The certificate at a path of this server; ``None`` where none is."""
        await self.ready()
        if self._pair is None or path != f"{CERTIFICATE_PATH}{self._name}.pem":
            return None
        return self._pair.certificate
