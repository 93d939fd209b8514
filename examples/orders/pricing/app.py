"""The function ``pricing``: prices an order from the catalogue in the layer."""

import json
import os
from pathlib import Path

from prices import price_order

CATALOGUE = json.loads(Path(os.environ.get("CATALOGUE", "/opt/shop/catalogue.json")).read_text())


def handler(event, context):
    """``event``: ``{"country", "items", "coupon"}``; raises with the reason when it cannot be priced."""
    return price_order(event, CATALOGUE)
