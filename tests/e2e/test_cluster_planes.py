"""Several control planes over one database, with real hosts: one configuration, one holder of the duties, nothing lost."""

import pytest
from tests.planes import running_cluster

pytestmark = pytest.mark.slow

ECHO = "def handler(event, context):\n    return {'echo': event, 'version': %r}\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, postgres):
    url = postgres.fresh()
    with running_cluster(tmp_path_factory.mktemp("cluster"), url, "a", "b") as cluster:
        cluster.host("h1")
        yield cluster
    postgres.give_back(url)


def test_a_function_made_at_one_is_called_at_the_other_at_once(cluster):
    a, b = cluster.planes
    for maker, caller in ((a, b), (b, a)):
        name = maker.function(ECHO % 1)
        assert caller.call(name, {"x": 1}) == {"echo": {"x": 1}, "version": 1}
        assert maker.call(name, 2)["echo"] == 2
