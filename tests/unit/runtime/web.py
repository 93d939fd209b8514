"""A web server that remembers what it was asked, for functions that call something."""

import contextlib
import datetime
import http.server
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.unit.runtime.driver import ROOT, SIGNED, TRACE_ID

CARRIED = ("x-amzn-trace-id", "traceparent", "tracestate", "baggage")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        body = self._body()
        headers = {}
        for name, value in self.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        self.server.seen.append((self.command, self.path, headers, body))
        what = self.path.partition("?")[0].split("/")[1]
        getattr(self, f"answer_{what}", self.answer_echo)()

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815  as the server asks for them

    def _body(self):
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_CONNECT(self):
        self.server.seen.append(("CONNECT", self.path, dict(self.headers.items()), b""))
        self.answer(b"", status=403)

    def answer(self, body, status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_echo(self):
        self.answer(b"0123456789")

    def answer_status(self):
        status = int(self.path.split("/")[2])
        self.answer(b"no" if status not in (204, 304) else b"", status=status)

    def answer_flaky(self):
        failing = self.server.failures > 0
        self.server.failures -= 1
        self.answer(b"no", status=503 if failing else 200)

    def answer_bucket(self):
        self.answer(b"")

    def answer_hop(self):
        self.answer(b"away", status=302, Location="/echo")

    def answer_chunked(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (b"one ", b"two ", b"three"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def answer_hangup(self):
        self.close_connection = True

    def answer_slow(self):
        self.server.release.wait(20)
        self.close_connection = True

    def answer_cut(self):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"0123456789")
        self.close_connection = True

    def answer_stalled(self):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"0123456789")
        self.server.release.wait(20)
        self.close_connection = True

    def log_message(self, *_):
        pass


class Web(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.seen = []
        self.failures = 0
        self.release = threading.Event()
        self.port = self.server_port

    def handle_error(self, *_):
        """Clients that go away are what is tested."""

    @property
    def carried(self):
        """The trace headers of each request so far."""
        return [
            {name: headers[name] for name in CARRIED if name in headers}
            for _, _, headers, _ in self.seen
        ]


@contextlib.contextmanager
def served(context=None):
    """A running server; its requests are let go at the end."""
    web = Web(context)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        web.release.set()
        web.shutdown()
        thread.join()
        web.server_close()


def certificate(folder):
    """A server's context with a certificate of its own for ``localhost``, and the file to trust it with."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trust = folder / "trust.pem"
    trust.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trust, private)
    return context, str(trust)


def carried_by(call):
    """The trace headers that a call is to have."""
    return {
        "x-amzn-trace-id": [f"Root={ROOT};Parent={call.span_id};Sampled=1;Forerun={SIGNED}"],
        "traceparent": [f"00-{TRACE_ID}-{call.span_id}-01"],
        "tracestate": [f"forerun={SIGNED}"],
    }
