"""The platform's identities as the key ring that signatures are checked with."""

from forerun.api.sigv4 import SecretKey
from forerun.control.identity import Identities, Identity
from forerun.control.sessions import ExpiredCredentials
from forerun.errors import AccessDenied


class IdentityKeys:
    """Answers without waiting; see ``Identities.lookup``."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    def secret(self, access_key_id: str, session_token: str) -> SecretKey | None:
        """What a signature is checked with; ``None`` for an unknown, disabled or forged key."""
        try:
            identity = self._identities.lookup(access_key_id, session_token)
        except ExpiredCredentials:
            # The verifier says so in the words of the service asked; no secret opens an ended session.
            return SecretKey("", session_token, expires_at=0.0)
        if identity is None:
            return None
        return SecretKey(identity.secret, session_token or None, identity.expires_at)

    def principal(self, access_key_id: str, session_token: str) -> Identity:
        """Who it stands for; only asked after its signature was found good."""
        identity = self._identities.lookup(access_key_id, session_token)
        if identity is None:
            raise AccessDenied("The security token included in the request is invalid.")
        return identity
