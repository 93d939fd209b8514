"""The cluster's authority, and the keys and certificates that its processes prove themselves with.

A certificate names a process (common name) and what it is (organizational unit: ``host`` or ``control``) for 90 days; its holder
renews it when a third of that is left. Addresses stand in it for the engine alone, which wants to see where it connects to.
"""

import hashlib
import ipaddress
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from forerun.cluster.identity import Identity, Role
from forerun.cluster.tokens import check_name
from forerun.errors import InvalidInput, SetupFailed

LIFETIME = timedelta(days=90)
AUTHORITY_LIFETIME = timedelta(days=3650)
# Clocks of hosts may differ by so much.
SLACK = timedelta(hours=1)
MAX_ADDRESSES = 8
MAX_REQUEST_BYTES = 16 * 1024


class Span(NamedTuple):
    """From when until when a certificate holds, epoch seconds."""

    begins: float
    ends: float

    def renew_at(self) -> float:
        """When its holder gets itself another: a third before its end."""
        return self.ends - (self.ends - self.begins) / 3


class Authority:
    """Says who is who in one cluster. ``pem`` is its certificate, which everybody may have; ``key`` is PKCS 8, DER, a secret."""

    def __init__(self, pem: str, key: bytes) -> None:
        """Raises ``SetupFailed`` when they are none, or do not belong together."""
        try:
            self._certificate = x509.load_pem_x509_certificate(pem.encode())
            self._key = cast(
                "ec.EllipticCurvePrivateKey", serialization.load_der_private_key(key, None)
            )
        except ValueError as error:
            raise SetupFailed(f"the cluster's authority cannot be read: {error}") from error
        if self._certificate.public_key() != self._key.public_key():
            raise SetupFailed("the key of the cluster's authority is not that of its certificate")
        self.pem = pem
        self.key = key
        self.hash = authority_hash(pem)

    def certify(self, request_pem: str, name: str, role: Role, *, now: float) -> str:
        """A certificate (PEM) for whoever made this request; only its key and its addresses are taken from it.

        Raises ``InvalidInput`` for a request that is none, or is not signed by its own key.
        """
        check_name(name)
        request = _read_request(request_pem)
        moment = datetime.fromtimestamp(now, UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_subject(name, role))
            .issuer_name(self._certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(moment - SLACK)
            .not_valid_after(moment + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name), *_addresses_of(request)]),
                critical=False,
            )
        )
        return _pem(builder.sign(self._key, hashes.SHA256()))

    def issue(
        self, name: str, role: Role, *, addresses: Sequence[str] = (), now: float
    ) -> Identity:
        """An identity for a process on this very machine, which needs no token."""
        key_pem, request = make_request(name, addresses)
        return Identity(
            name=name,
            role=role,
            key_pem=key_pem,
            certificate_pem=self.certify(request, name, role, now=now),
            authority_pem=self.pem,
        )


def make_authority(*, now: float) -> Authority:
    """A new one, of a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, f"forerun {secrets.token_hex(4)}")]
    )
    moment = datetime.fromtimestamp(now, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - SLACK)
        .not_valid_after(moment + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Authority(_pem(certificate), der)


def make_request(name: str, addresses: Sequence[str] = ()) -> tuple[str, str]:
    """A new key, and a request to certify it; both PEM. ``addresses`` are IP addresses of this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    )
    if known := [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]:
        builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False)
    request = builder.sign(key, hashes.SHA256())
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    return key_pem, request.public_bytes(serialization.Encoding.PEM).decode()


def authority_hash(pem: str) -> str:
    """What a token says of the authority: 128 bits of SHA-256 over its certificate. Raises ``SetupFailed``."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise SetupFailed(f"the authority's certificate cannot be read: {error}") from error
    der = certificate.public_bytes(serialization.Encoding.DER)
    return hashlib.sha256(der).hexdigest()[:32]


def certificate_span(pem: str) -> Span:
    """How long a certificate holds. Raises ``SetupFailed``."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise SetupFailed(f"a certificate cannot be read: {error}") from error
    return Span(
        certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    )


def _read_request(pem: str) -> x509.CertificateSigningRequest:
    if len(pem) > MAX_REQUEST_BYTES:
        raise InvalidInput(f"request may have {MAX_REQUEST_BYTES} bytes, not {len(pem)}")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        sound = request.is_signature_valid
    except (ValueError, TypeError, InvalidSignature) as error:
        raise InvalidInput(f"request is no certificate signing request: {error}") from None
    except Exception as error:  # noqa: BLE001 what strangers send may raise what the library pleases
        raise InvalidInput(
            f"request is no certificate signing request: {type(error).__name__}"
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise InvalidInput("request must be for a key on the curve P-256")
    if not sound:
        raise InvalidInput("request must be signed with its own key")
    return request


def _addresses_of(request: x509.CertificateSigningRequest) -> list[x509.IPAddress]:
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except ValueError as error:
        raise InvalidInput(f"request has extensions that cannot be read: {error}") from None
    found = names.get_values_for_type(x509.IPAddress)
    if len(found) > MAX_ADDRESSES:
        raise InvalidInput(f"request may name {MAX_ADDRESSES} addresses, not {len(found)}")
    return [x509.IPAddress(each) for each in found]


def _subject(name: str, role: Role) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COMMON_NAME, name),
            x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, role),
        ]
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
