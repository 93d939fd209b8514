"""What an order costs: volume discounts, coupons, shipping and tax, exact to the cent. Pure.

Prices in the catalogue are net. Discounts come off each line, shipping is taxed like goods at the standard rate, and
every amount is rounded half up once, where it is shown.
"""

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")


class UnknownProduct(Exception):
    """The catalogue does not have it."""


class UnknownCountry(Exception):
    """We do not deliver there."""


class CouponRefused(Exception):
    """The coupon is unknown or its conditions are not met."""


class TooHeavy(Exception):
    """No parcel takes it."""


def price_order(order, catalogue):
    """Price ``{"country", "items": [{"sku", "quantity"}], "coupon"}``; amounts come back as texts."""
    rates = catalogue["tax_percent"].get(order["country"])
    if rates is None:
        raise UnknownCountry(f"we do not deliver to {order['country']}")
    lines = [_line(item, catalogue) for item in order["items"]]
    before_coupon = sum(line["net"] for line in lines)
    coupon = _apply_coupon(order.get("coupon"), lines, before_coupon, catalogue)
    goods = sum(line["net"] for line in lines)
    grams = sum(line["grams"] for line in lines)
    shipping = _shipping(order["country"], grams, goods, catalogue)
    tax = sum(_cents(line["net"] * _rate(rates, line["category"])) for line in lines)
    tax += _cents(shipping * _rate(rates, "standard"))
    return {
        "currency": catalogue["currency"],
        "lines": [
            {
                "sku": line["sku"],
                "name": line["name"],
                "quantity": line["quantity"],
                "net": str(line["net"]),
                "tax_percent": str(rates.get(line["category"], rates["standard"])),
            }
            for line in lines
        ],
        "goods": str(goods),
        "coupon": str(coupon),
        "shipping": str(shipping),
        "tax": str(tax),
        "total": str(goods + shipping + tax),
        "grams": grams,
    }


def _line(item, catalogue):
    product = catalogue["products"].get(item["sku"])
    if product is None:
        raise UnknownProduct(f"there is no product {item['sku']}")
    quantity = item["quantity"]
    percent = max(
        (
            Decimal(step["percent"])
            for step in catalogue["volume_discounts"]
            if quantity >= step["quantity"]
        ),
        default=Decimal(0),
    )
    gross = Decimal(product["price"]) * quantity
    return {
        "sku": item["sku"],
        "name": product["name"],
        "category": product["category"],
        "quantity": quantity,
        "grams": product["grams"] * quantity,
        "net": _cents(gross * (100 - percent) / 100),
    }


def _apply_coupon(code, lines, total, catalogue):
    """Take the coupon off the lines it is for, in proportion; the amount taken off."""
    if not code:
        return Decimal("0.00")
    coupon = catalogue["coupons"].get(code)
    if coupon is None:
        raise CouponRefused(f"there is no coupon {code}")
    if total < Decimal(coupon["minimum"]):
        raise CouponRefused(f"coupon {code} needs an order of {coupon['minimum']}")
    meant = [line for line in lines if coupon.get("category") in (None, line["category"])]
    if not meant:
        raise CouponRefused(f"coupon {code} is for {coupon['category']}s")
    base = sum(line["net"] for line in meant)
    percent = Decimal(coupon.get("percent", 0)) / 100
    off = _cents(base * percent) if percent else min(Decimal(coupon["amount"]), base)
    left = off
    for line in meant[:-1]:
        share = _cents(off * line["net"] / base)
        line["net"] -= share
        left -= share
    meant[-1]["net"] -= left
    return off


def _shipping(country, grams, goods, catalogue):
    rules = catalogue["shipping"]
    steps = rules["home"] if country == catalogue["home_country"] else rules["abroad"]
    fitting = [Decimal(step["price"]) for step in steps if grams <= step["grams"]]
    if not fitting:
        raise TooHeavy(f"{grams / 1000:.1f} kg do not go into one parcel")
    return Decimal("0.00") if goods >= Decimal(rules["free_from"]) else min(fitting)


def _rate(rates, category):
    return Decimal(rates.get(category, rates["standard"])) / 100


def _cents(amount):
    return amount.quantize(CENT, ROUND_HALF_UP)
