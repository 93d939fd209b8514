"""Mutual TLS between the processes of a cluster: both ends believe one authority, and look at name and role, not at addresses."""

import ssl
from typing import Any, NamedTuple

from forerun.aio import given
from forerun.cluster.identity import Identity
from forerun.errors import SetupFailed

ROLES = ("host", "control")


class Peer(NamedTuple):
    """Who is at the other end, as its certificate says; both empty for one without a certificate."""

    name: str = ""
    role: str = ""


NOBODY = Peer()


def server_context(identity: Identity) -> ssl.SSLContext:
    """For the door: a certificate is verified where one is shown, and one is demanded by whoever serves.

    Raises ``SetupFailed`` for an identity that is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    # Whoever comes again would be believed without its certificate being looked at.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return _armed(context, identity)


def client_context(identity: Identity | None, authority_pem: str = "") -> ssl.SSLContext:
    """For who knocks. Without an identity it shows none; without an ``authority_pem`` either, it believes anybody.

    Raises ``SetupFailed`` for an identity that is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if identity is not None:
        return _armed(context, identity)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if authority_pem:
        _believe(context, authority_pem)
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


def renew(context: ssl.SSLContext, identity: Identity) -> None:
    """Let connections that are made from now on show another certificate, and believe what it believes, too."""
    _armed(context, identity)


def peer_of(transport: Any) -> Peer:
    """Whose certificate was verified at the other end of a connection."""
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return NOBODY
    found = {key: value for part in certificate.get("subject", ()) for key, value in part}
    name, role = found.get("commonName", ""), found.get("organizationalUnitName", "")
    return Peer(name, role) if name and role in ROLES else NOBODY


def _armed(context: ssl.SSLContext, identity: Identity) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _believe(context, identity.authority_pem)
    try:
        # OpenSSL reads a key from nothing but a file.
        with given(f"{identity.certificate_pem}\n{identity.key_pem}".encode()) as descriptor:
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise SetupFailed(
            f"the certificate or the key of {identity.name!r} cannot be used: {error}"
        ) from error
    return context


def _believe(context: ssl.SSLContext, authority_pem: str) -> None:
    try:
        context.load_verify_locations(cadata=authority_pem)
    except (ssl.SSLError, ValueError) as error:
        raise SetupFailed(f"the authority's certificate cannot be used: {error}") from error
