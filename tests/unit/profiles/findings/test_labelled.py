"""Functions whose faults are known: what is wrong with them is found, and nothing else is claimed."""

import pytest
from bench.exact import exact_profiles
from bench.labelled import PLATFORM, SCENARIOS, events_of

from forerun.profiles.findings import Confidence, findings

# A seed that no threshold was chosen with.
SEED = 4711
# Following links looks like a loop over items; counted as a mistake by bench/findings.py.
CANNOT_BE_TOLD = {"follows_links"}
TOLD = [one for one in SCENARIOS if one.name not in CANNOT_BE_TOLD]


@pytest.mark.parametrize("one", TOLD, ids=lambda one: one.name)
def test_what_is_wrong_is_found_and_nothing_else(one):
    profiles = exact_profiles(events_of(one, SEED, 300), PLATFORM)
    found = findings(profiles["A"], profiles)
    claimed = {each.kind for each in found if each.confidence is not Confidence.LOW}
    assert claimed <= one.true | one.also
    assert one.true <= {each.kind for each in found}
    for each in found:
        assert each.sampled == 300
        assert each.gain.share >= 0
        assert each.gain.amount >= 0
