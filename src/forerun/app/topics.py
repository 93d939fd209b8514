"""Makes the part that publishes: SNS."""

import logging

from forerun.aio import TaskOwner
from forerun.api.sns import CertificateDoor, PublishRoutes, SubscriptionRoutes, TopicRoutes
from forerun.app.ground import Ground, Part
from forerun.errors import ForerunError
from forerun.sources import Outbox
from forerun.sources.topics import (
    CERTIFICATE_PATH,
    Catalog,
    Confirmations,
    Place,
    Publisher,
    Signatory,
    Subscriptions,
    Topics,
)
from forerun.storage.topics import TopicStore

SWEEP_S = 300.0

log = logging.getLogger("forerun.topics")


def make_topics(ground: Ground, outbox: Outbox) -> Part:
    """Construct it; what FIFO topics and tokens are remembered for ends by itself."""
    state, clock = ground.state, ground.clock
    region = ground.settings.server.region
    place = Place(region=region, base_url=ground.base_url)
    store = TopicStore(state.messages, state.sealer)
    catalog = Catalog(store)
    signatory = Signatory(store, ground.base_url, clock)
    confirmations = Confirmations(
        outbox, signatory, clock=clock, place=place, key=state.sealer.derive(b"topic-tokens")
    )
    topics = Topics(store, catalog, clock=clock, region=region)
    subscriptions = Subscriptions(store, catalog, confirmations, clock)
    publisher = Publisher(store, catalog, outbox, signatory, clock=clock, place=place)
    routes = SubscriptionRoutes(subscriptions)
    owner = TaskOwner("topics")

    async def sweep() -> None:
        while True:
            await clock.sleep(SWEEP_S)
            try:
                await subscriptions.sweep()
            except ForerunError as error:
                log.warning("what topics need not know any more is still kept: %s", error.message)

    async def start() -> None:
        owner.spawn(sweep(), name="sweep")

    return Part(
        operations={
            publisher.service: {
                **TopicRoutes(topics).routes(),
                **routes.routes(),
                **PublishRoutes(publisher).routes(),
            }
        },
        linked={publisher.service: routes.unsigned()},
        doors={CERTIFICATE_PATH.encode(): CertificateDoor(signatory)},
        sinks=[publisher],
        rows=routes.rows(region, publisher.sent),
        start=start,
        close=owner.close,
    )
