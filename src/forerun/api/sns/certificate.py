"""The certificate that signatures of notifications are checked with, for anybody."""

from forerun.aio import Receive, Scope, Send
from forerun.api.response import Response, send_response
from forerun.sources.topics import Signatory


class CertificateDoor:
    """Serves it at its own path."""

    def __init__(self, signatory: Signatory) -> None:
        self._signatory = signatory

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: bytes = scope["raw_path"]
        certificate = await self._signatory.certificate(path.decode("latin-1"))
        if certificate is None or scope["method"] not in ("GET", "HEAD"):
            await send_response(send, Response(404, _TEXT, b"Not found\n"))
            return
        body = b"" if scope["method"] == "HEAD" else certificate
        await send_response(send, Response(200, _PEM, body))


_TEXT = [(b"content-type", b"text/plain")]
_PEM = [(b"content-type", b"application/x-pem-file"), (b"cache-control", b"max-age=86400")]
