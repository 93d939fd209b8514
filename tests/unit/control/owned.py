"""boto3 against the Lambda handlers in this process: real shapes both ways, no sockets."""

import asyncio
import io
import zipfile
from urllib.parse import urlsplit

import boto3
import msgspec
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from tests.databases import open_database

from forerun.api.caller import Caller
from forerun.api.errors import api_error
from forerun.api.lambda_.packages import PackageSource
from forerun.api.lambda_.routes import lambda_routes
from forerun.api.protocol import (
    ApiError,
    HttpRequest,
    Models,
    Parser,
    Router,
    Serializer,
    error_reply,
)
from forerun.control.configuration import Machine
from forerun.control.estate import Estate, Surroundings
from forerun.errors import ForerunError
from forerun.model import Egress
from forerun.settings import LimitSettings
from forerun.storage import Sealer

ACCOUNT = "000000000042"
OTHER = "000000000043"
REGION = "us-home-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/test"
MACHINE = Machine(("python3.11", "python3.12", "provided.al2023"), "x86_64")
HANDLER = "def handler(event, context):\n    return event\n"


def arn(name, qualifier=None):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}" + (
        f":{qualifier}" if qualifier else ""
    )


def make_zip(files=None):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (files or {"app.py": HANDLER}).items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


class Raw(io.BytesIO):
    def stream(self):
        yield self.read()


async def open_estate(directory, clock, limits=None, **surroundings):
    db = await open_database(directory / "forerun.db")
    around = Surroundings(
        directory=directory,
        region=REGION,
        limits=limits or LimitSettings(),
        egress=Egress.PLATFORM,
        machine=lambda: MACHINE,
        url_for=lambda url_id: f"http://{url_id}.lambda-url.{REGION}.localhost:9700/",
        clock=clock,
    )
    estate = Estate(db, Sealer(bytes(32)), msgspec.structs.replace(around, **surroundings))
    await estate.start()
    return db, estate


class Owned:
    """``await aws.create_function(...)`` is boto3's method of that name, run in a thread."""

    def __init__(self, estate, limits=None, account=ACCOUNT):
        self.estate = estate
        self.account = account
        self._limits = limits or LimitSettings()
        self._routes = lambda_routes(
            estate, self._limits, lambda digest: f"http://code/{digest}", PackageSource()
        )
        self._router = Router(Models(), ("lambda",))
        self._parser = Parser()
        self._serializer = Serializer()
        self._loop = asyncio.get_running_loop()
        self.boto = boto3.session.Session().client(
            "lambda",
            region_name=REGION,
            endpoint_url="http://in.process",
            aws_access_key_id="AKIATEST",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )
        self.boto.meta.events.register("before-send.lambda", self._send)

    def as_account(self, account):
        return Owned(self.estate, self._limits, account)

    def __getattr__(self, operation):
        method = getattr(self.boto, operation)
        return lambda *args, **values: asyncio.to_thread(method, *args, **values)

    async def create(self, name="fn", **changes):
        values = {
            "FunctionName": name,
            "Runtime": "python3.11",
            "Handler": "app.handler",
            "Role": ROLE.replace(ACCOUNT, self.account),
            "Code": {"ZipFile": make_zip()},
        }
        values.update(changes)
        return await self.create_function(**values)

    def _send(self, request, **_):
        url = urlsplit(request.url)
        body = request.body or b""
        if hasattr(body, "read"):
            body = body.read()
        read = HttpRequest(
            request.method,
            url.path.encode(),
            url.query.encode(),
            [
                (key.lower().encode(), value if isinstance(value, bytes) else value.encode())
                for key, value in request.headers.items()
            ],
            body,
        )
        reply = asyncio.run_coroutine_threadsafe(self._serve(read), self._loop).result(30)
        headers = {key.decode(): value.decode() for key, value in reply.headers}
        return AWSResponse(request.url, reply.status, headers, Raw(reply.body))

    async def _serve(self, request):
        caller = Caller(
            account=self.account,
            region=REGION,
            principal_arn=f"arn:aws:iam::{self.account}:root",
            access_key_id="AKIATEST",
            request_id="request",
        )
        route = self._router.route(request)
        try:
            values = await self._routes[route.operation.name](
                caller, self._parser.parse(route, request)
            )
            return self._serializer.reply(route.operation, values, "request")
        except ApiError as error:
            return error_reply(route.operation.model, error, "request")
        except ForerunError as error:
            return error_reply(route.operation.model, api_error("lambda", error), "request")
