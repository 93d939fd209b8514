"""All handlers of the Lambda API but the invocations, which take a shorter way."""

from collections.abc import Callable

from forerun.api.handlers import Handler
from forerun.api.lambda_ import (
    account,
    aliases,
    concurrency,
    event_invoke,
    functions,
    layers,
    mappings,
    permissions,
    provisioned,
    tags,
    urls,
    versions,
)
from forerun.api.lambda_.packages import PackageSource
from forerun.control.estate import Estate
from forerun.settings import LimitSettings


def lambda_routes(
    estate: Estate,
    limits: LimitSettings,
    package_url: Callable[[str], str],
    packages: PackageSource,
) -> dict[str, Handler]:
    """Handlers by operation; ``package_url`` makes the URL where the package with a digest can be fetched.

    ``packages`` reads those that are deployed.
    """
    return {
        **functions.routes(
            estate.functions, lambda function: package_url(function.code_digest), packages
        ),
        **versions.routes(estate.versions),
        **aliases.routes(estate.aliases),
        **layers.routes(estate.layers, lambda layer: package_url(layer.code_digest), packages),
        **permissions.routes(estate.permissions),
        **concurrency.routes(estate.concurrency),
        **provisioned.routes(estate.provisioned, estate.provisioning),
        **event_invoke.routes(estate.event_invokes),
        **urls.routes(estate.urls),
        **tags.routes(estate.tags),
        **account.routes(estate.concurrency, estate.behaviour, estate.functions, limits),
        **mappings.routes(estate.mappings),
    }
