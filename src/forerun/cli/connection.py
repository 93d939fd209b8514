"""How commands reach the server: botocore clients and signed requests, never anywhere but the server's own endpoint.

The endpoint and keys come from the data directory when ``--data`` names one, else from the environment when
``AWS_ENDPOINT_URL`` is set, else from the default data directory.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from forerun.cli.failures import Failure, Misuse, Refused, no_credentials, not_running
from forerun.settings import ClientSettings

_FALLBACK_REGION = "us-home-1"


@dataclass(frozen=True, slots=True)
class Connection:
    """A server and the keys for it; ``access_key_id`` is ``None`` to use those that botocore finds."""

    endpoint: str
    region: str
    access_key_id: str | None = None
    secret_access_key: str | None = None
    account: str | None = None

    def client(self, service: str, *, read_timeout_s: float = 60.0) -> Any:
        """A botocore client of an AWS service on this server; it never retries, as nothing is lost on a short way."""
        # botocore costs 100 ms and more to import: only commands that talk to a server pay for it.
        import botocore.config

        return self._session().create_client(
            service,
            region_name=self.region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=botocore.config.Config(
                connect_timeout=5,
                read_timeout=read_timeout_s,
                retries={"total_max_attempts": 1},
                parameter_validation=True,
                user_agent_extra="forerun-cli",
                # Names of buckets are no host names here.
                s3={"addressing_style": "path"},
            ),
        )

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """A signed ``GET`` of one of the platform's own endpoints; its JSON."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        return self._ask("GET", path + (f"?{urlencode(given)}" if given else ""), b"")

    def post(self, path: str, **members: object) -> dict[str, Any]:
        """A signed ``POST`` of a JSON object to one of the platform's own endpoints; its JSON. ``None`` is left out."""
        given = {name: value for name, value in members.items() if value is not None}
        return self._ask("POST", path, json.dumps(given).encode())

    def _ask(self, method: str, target: str, body: bytes) -> dict[str, Any]:
        import botocore.auth
        import botocore.awsrequest
        import botocore.exceptions

        headers = {"Accept": "application/json"}
        if body:
            headers["Content-Type"] = "application/json"
        url = f"{self.endpoint}{target}"
        request = botocore.awsrequest.AWSRequest(method, url, headers=headers, data=body)
        botocore.auth.SigV4Auth(self._credentials(), "forerun", self.region).add_auth(request)
        status, answer = self._send(request)
        try:
            content = json.loads(answer)
        except ValueError:
            content = None
        if status != 200 or not isinstance(content, dict):
            said = (
                content.get("message") or content.get("Message")
                if isinstance(content, dict)
                else None
            )
            path = target.partition("?")[0]
            raise Refused(
                f"{method} {path} answered {status}: {said or 'not the JSON of a Forerun server'}",
                status,
                str(said or ""),
            )
        return content

    def healthy(self) -> bool:
        """Whether the server answers its health check."""
        import botocore.awsrequest

        try:
            return (
                self._send(botocore.awsrequest.AWSRequest("GET", f"{self.endpoint}/health"))[0]
                == 200
            )
        except Failure:
            return False

    def _send(self, request: Any) -> tuple[int, bytes]:
        import botocore.exceptions
        import botocore.httpsession

        session = botocore.httpsession.URLLib3Session(timeout=(5, 30))
        try:
            answer = session.send(request.prepare())
        except botocore.exceptions.HTTPClientError as error:
            raise not_running(self.endpoint) from error
        else:
            return answer.status_code, answer.content
        finally:
            session.close()

    def _session(self) -> Any:
        import botocore.session

        return botocore.session.get_session()

    def _credentials(self) -> Any:
        import botocore.credentials

        if self.access_key_id and self.secret_access_key:
            return botocore.credentials.Credentials(self.access_key_id, self.secret_access_key)
        found = self._session().get_credentials()
        if found is None:
            raise no_credentials()
        return found.get_frozen_credentials()


def connect(data: str | None) -> Connection:
    """The connection that the options and the environment ask for; a ``Failure`` says how to get a server."""
    client = ClientSettings.load(data_dir=data)
    if client.endpoint:
        return Connection(client.endpoint.rstrip("/"), client.region or _FALLBACK_REGION)
    return read_credentials(client)


def read_credentials(client: ClientSettings) -> Connection:
    """What the server of a data directory wrote about itself."""
    path = client.credentials_path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Connection(
            endpoint=content["endpoint"].rstrip("/"),
            region=content["region"],
            access_key_id=content["access_key_id"],
            secret_access_key=content["secret_access_key"],
            account=content.get("account"),
        )
    except (FileNotFoundError, NotADirectoryError):
        raise Failure(
            f"No server has been started on {client.data_dir}.", "Start it with: forerun up"
        ) from None
    except PermissionError:
        raise Failure(
            f"{path} belongs to the user who runs the server.", "Be that user, or ask for a key."
        ) from None
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise Misuse(f"{path} is not a credentials file of Forerun.") from error
