"""Where the engine is of use at all."""

import pytest

from forerun.app.engine import with_usable_engine
from forerun.errors import SetupFailed
from forerun.settings import ClusterSettings, Settings


@pytest.mark.parametrize(
    ("settings", "engine"),
    [
        (ClusterSettings(), "none"),
        (ClusterSettings(listen="localhost:9701"), "none"),
        (ClusterSettings(listen="[::1]:9701"), "none"),
        (ClusterSettings(listen="10.0.0.1:9701"), "ray"),
        (ClusterSettings(advertise="10.0.0.1:9701"), "ray"),
        (ClusterSettings(listen="10.0.0.1:9701", engine="none"), "none"),
        (ClusterSettings(engine_address="10.0.0.9:9702"), "ray"),
    ],
    ids=["default", "by name", "ipv6", "an address", "advertised", "not wanted", "there before"],
)
def test_no_engine_is_started_where_no_other_machine_can_join(settings, engine):
    assert with_usable_engine(Settings(cluster=settings)).cluster.engine == engine


@pytest.mark.parametrize("address", ["10.0.0.9", "10.0.0.9:0", ":6379", "10.0.0.9:99999"])
def test_an_engine_is_looked_for_only_where_one_can_be(address):
    with pytest.raises(SetupFailed, match=r"cluster\.engine_address"):
        with_usable_engine(Settings(cluster=ClusterSettings(engine_address=address)))
