"""The services over the open state, and the operations that the API offers on them."""

import platform
from collections.abc import Callable, Mapping
from typing import NamedTuple

from forerun.aio import Clock
from forerun.api.autoscaling import AutoscalingRoutes
from forerun.api.handlers import Handler
from forerun.api.iam import iam_routes
from forerun.api.lambda_.packages import PackageSource
from forerun.api.lambda_.routes import lambda_routes
from forerun.api.logs import LogRoutes
from forerun.api.packages import PackageLinks
from forerun.api.sts import SecurityTokens
from forerun.api.xray import Keep, XRayRoutes
from forerun.app.state import State
from forerun.control.authorization import Authorizer
from forerun.control.configuration import Machine
from forerun.control.directory import Directory
from forerun.control.estate import Estate, Surroundings
from forerun.control.following import Others
from forerun.control.identity import Identities
from forerun.control.log_reading import LogReader
from forerun.control.logs import LogService
from forerun.control.principals import Principals
from forerun.control.sessions import SessionTokens
from forerun.model import Egress
from forerun.settings import Settings

ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}


class Services(NamedTuple):
    """What users own, who they are, what was logged; and the handlers by service and operation."""

    estate: Estate
    identities: Identities
    principals: Principals
    authorizer: Authorizer
    logs: LogService
    packages: PackageLinks
    package_source: PackageSource
    operations: Mapping[str, Mapping[str, Handler]]


def make_services(  # noqa: PLR0913 the wiring of all services, mostly by keyword
    settings: Settings,
    state: State,
    clock: Clock,
    *,
    runtimes: Callable[[], Mapping[str, str]],
    base_url: str,
    keep: Keep,
    others: Others | None = None,
) -> Services:
    """Construct them; ``runtimes`` are those of this machine, ``base_url`` is where clients reach the server.

    ``keep`` takes segments of traces. ``others`` where other control planes change what users own.
    """
    estate = Estate(
        state.db,
        state.sealer,
        Surroundings(
            directory=settings.server.data_dir,
            region=settings.server.region,
            limits=settings.limits,
            egress=Egress(settings.sandbox.egress),
            machine=lambda: Machine(tuple(runtimes()), ARCHITECTURES[platform.machine()]),
            url_for=lambda url_id: f"{base_url}/lambda-url/{url_id}/",
            clock=clock,
            scaling=settings.scaling,
            packaging=settings.packaging,
            vault=state.vault,
            others=others,
        ),
    )
    directory = Directory(state.identities)
    identities = Identities(directory, SessionTokens(state.sealer, clock), clock)
    principals = Principals(directory, clock)
    authorizer = Authorizer(directory, clock)
    logs = LogService(state.log_groups, state.logs, clock, cap_bytes=settings.retention.log_bytes)
    packages = PackageLinks(state.sealer.derive(b"package-links"), base_url, estate.code, clock)
    package_source = PackageSource()
    operations = {
        "application-autoscaling": AutoscalingRoutes(estate.autoscaling, authorizer).routes(),
        "lambda": lambda_routes(estate, settings.limits, packages.url, package_source),
        "iam": iam_routes(identities, principals),
        "sts": SecurityTokens(identities, principals, authorizer).routes(),
        "logs": LogRoutes(logs, LogReader(state.logs)).routes(),
        "xray": XRayRoutes(state.traces, keep, clock).routes(),
    }
    return Services(
        estate, identities, principals, authorizer, logs, packages, package_source, operations
    )
