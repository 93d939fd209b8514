"""A share of something sampled, with its interval of 95 %."""

import math

from forerun.profiles.profile import Likelihood

_Z = 1.959963984540054


def likelihood(part: float, whole: float, squares: float) -> Likelihood:
    """``part`` of ``whole``, both sums of weights; ``squares`` is the sum of all squared weights.

    Wilson's interval, with the number of equally weighted samples that would say as much
    (``whole² / squares``); with nothing seen it is everything from 0 to 1.
    """
    if whole <= 0:
        return Likelihood()
    share = min(1.0, max(0.0, part / whole))
    size = whole * whole / squares if squares > 0 else whole
    spread = _Z * _Z / size
    middle = (share + spread / 2) / (1 + spread)
    reach = _Z * math.sqrt(share * (1 - share) / size + spread / (4 * size)) / (1 + spread)
    low = 0.0 if share == 0 else max(0.0, min(share, middle - reach))
    high = 1.0 if share == 1 else min(1.0, max(share, middle + reach))
    return Likelihood(value=share, low=low, high=high)
