"""The authority and its certificates: who is whose, for how long, and what strangers can hand in."""

import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from forerun.cluster.tls import client_context, peer_of, server_context
from forerun.cluster.tokens import check_name
from forerun.cluster.trust import (
    Authority,
    authority_hash,
    certificate_span,
    make_authority,
    make_request,
)
from forerun.errors import InvalidInput, SetupFailed

NOW = time.time()
DAY = 86400.0
AUTHORITY = make_authority(now=NOW)
OTHER = make_authority(now=NOW)


class Seen:
    """What ``peer_of`` asks of a transport."""

    def __init__(self, certificate):
        self._certificate = certificate

    def get_extra_info(self, name):
        return self._certificate if name == "peercert" else None


def shake(client, server):
    """Both ends of a handshake in memory: whom each of them sees. Raises ``ssl.SSLError``."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        waiting = False
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
        if not waiting:
            break
    return [peer_of(Seen(end.getpeercert())) for end in ends]


def test_both_ends_see_name_and_role():
    host = AUTHORITY.issue("h-1", "host", addresses=["10.0.0.1"], now=NOW)
    plane = AUTHORITY.issue("plane", "control", now=NOW)
    assert shake(client_context(host), server_context(plane)) == [
        ("plane", "control"),
        ("h-1", "host"),
    ]


@pytest.mark.parametrize("stranger", ["client", "server"])
def test_another_authority_is_not_believed(stranger):
    mine = AUTHORITY.issue("one", "host", now=NOW)
    other = OTHER.issue("one", "host", now=NOW)
    client, server = (other, mine) if stranger == "client" else (mine, other)
    with pytest.raises(ssl.SSLError):
        shake(client_context(client), server_context(server))


def test_a_certificate_over_its_time_is_not_believed():
    old = AUTHORITY.issue("old", "host", now=NOW - 91 * DAY)
    plane = AUTHORITY.issue("plane", "control", now=NOW)
    with pytest.raises(ssl.SSLError, match="expired"):
        shake(client_context(old), server_context(plane))


def test_a_host_is_no_authority():
    """A certificate that a host signs with its own key is nobody's."""
    host = AUTHORITY.issue("host", "host", now=NOW)
    key = serialization.load_pem_private_key(host.key_pem.encode(), None)
    issuer = x509.load_pem_x509_certificate(host.certificate_pem.encode())
    mine = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "plane"),
            x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "control"),
        ]
    )
    forged = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject)
        .public_key(mine.public_key())
        .serial_number(7)
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    chain = forged.public_bytes(serialization.Encoding.PEM).decode() + host.certificate_pem
    key_pem = mine.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    liar = type(host)(
        name="plane",
        role="control",
        key_pem=key_pem,
        certificate_pem=chain,
        authority_pem=AUTHORITY.pem,
    )
    plane = AUTHORITY.issue("other", "control", now=NOW)
    with pytest.raises(ssl.SSLError):
        shake(client_context(liar), server_context(plane))


def test_it_is_renewed_a_third_before_its_end():
    span = certificate_span(AUTHORITY.issue("h", "host", now=NOW).certificate_pem)
    assert abs(span.ends - NOW - 90 * DAY) < 2
    assert span.ends - span.renew_at() == pytest.approx(30 * DAY, abs=3600)


def test_an_authority_is_read_again_and_needs_its_own_key():
    again = Authority(AUTHORITY.pem, AUTHORITY.key)
    assert again.hash == AUTHORITY.hash == authority_hash(AUTHORITY.pem) != OTHER.hash
    with pytest.raises(SetupFailed, match="not that of its certificate"):
        Authority(AUTHORITY.pem, OTHER.key)
    with pytest.raises(SetupFailed, match="cannot be read"):
        Authority("nothing", AUTHORITY.key)


def test_what_a_request_says_of_name_and_role_counts_for_nothing():
    _, request = make_request("plane")
    certificate = x509.load_pem_x509_certificate(
        AUTHORITY.certify(request, "h", "host", now=NOW).encode()
    )
    names = [item.value for item in certificate.subject]
    assert names == ["h", "host"]
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not basic.ca


def _request(key, addresses=0):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if addresses:
        import ipaddress

        names = [x509.IPAddress(ipaddress.ip_address(index)) for index in range(addresses)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


BAD_REQUESTS = {
    "nothing": (lambda: "", "no certificate signing request"),
    "noise": (
        lambda: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "no certificate signing request",
    ),
    "a certificate": (lambda: AUTHORITY.pem, "no certificate signing request"),
    "too long": (lambda: "x" * 20_000, "may have 16384 bytes"),
    "another curve": (lambda: _request(ec.generate_private_key(ec.SECP384R1())), "P-256"),
    "too many addresses": (
        lambda: _request(ec.generate_private_key(ec.SECP256R1()), 9),
        "may name 8 addresses",
    ),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_requests_are_refused(name):
    make, said = BAD_REQUESTS[name]
    with pytest.raises(InvalidInput, match=said):
        AUTHORITY.certify(make(), "h", "host", now=NOW)


@given(st.text(max_size=80))
def test_names_are_harmless_or_refused(text):
    try:
        check_name(text)
    except InvalidInput:
        return
    assert 1 <= len(text) <= 63
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert text[0] != "-" != text[-1]


@given(st.binary(max_size=400))
def test_noise_is_no_request(body):
    text = body.decode("latin-1")
    with pytest.raises(InvalidInput):
        AUTHORITY.certify(text, "h", "host", now=NOW)
