import importlib.util
import json
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ORDERS = Path(__file__).parents[3] / "examples/orders"
CATALOGUE = json.loads((ORDERS / "shop-data/shop/catalogue.json").read_text())


def load(path):
    spec = importlib.util.spec_from_file_location(f"orders_example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


prices = load(ORDERS / "pricing/prices.py")
checking = load(ORDERS / "orders/checking.py")


def priced(country, *items, coupon=None):
    order = {"country": country, "coupon": coupon}
    order["items"] = [{"sku": sku, "quantity": quantity} for sku, quantity in items]
    return prices.price_order(order, CATALOGUE)


def test_books_are_taxed_less_and_shipping_like_goods():
    result = priced("DE", ("BK-101", 1))
    assert (result["goods"], result["shipping"]) == ("19.90", "4.90")
    assert result["tax"] == "2.32"  # 7 % of 19.90 and 19 % of 4.90
    assert result["total"] == "27.12"


def test_volume_discount_takes_the_best_step():
    assert priced("DE", ("NB-500", 4))["goods"] == "47.20"
    assert priced("DE", ("NB-500", 10))["goods"] == "109.74"


def test_shipping_is_free_from_a_sum_on():
    assert priced("FR", ("KB-300", 1))["shipping"] == "0.00"
    assert priced("FR", ("CF-201", 1))["shipping"] == "9.90"


def test_coupon_comes_off_the_lines_it_is_for():
    result = priced("DE", ("BK-100", 1), ("NB-501", 1), coupon="BOOKWORM")
    assert result["coupon"] == "8.10"
    assert [line["net"] for line in result["lines"]] == ["45.90", "29.00"]


@pytest.mark.parametrize(
    ("error", "country", "items", "coupon"),
    [
        ("UnknownCountry", "XX", [("BK-100", 1)], None),
        ("UnknownProduct", "DE", [("ZZ-1", 1)], None),
        ("CouponRefused", "DE", [("BK-100", 1)], "NOPE"),
        ("CouponRefused", "DE", [("BK-101", 1)], "TENOFF"),
        ("CouponRefused", "DE", [("CF-201", 1)], "BOOKWORM"),
        ("TooHeavy", "DE", [("LM-400", 17)], None),
    ],
)
def test_refusals(error, country, items, coupon):
    with pytest.raises(getattr(prices, error)):
        priced(country, *items, coupon=coupon)


@given(
    items=st.lists(
        st.tuples(st.sampled_from(sorted(CATALOGUE["products"])), st.integers(1, 4)),
        min_size=1,
        max_size=5,
    ),
    country=st.sampled_from(sorted(CATALOGUE["tax_percent"])),
    coupon=st.sampled_from([None, *CATALOGUE["coupons"]]),
)
def test_amounts_add_up_to_the_cent(items, country, coupon):
    try:
        result = priced(country, *items, coupon=coupon)
    except (prices.CouponRefused, prices.TooHeavy):
        return
    lines = [Decimal(line["net"]) for line in result["lines"]]
    assert sum(lines) == Decimal(result["goods"])
    assert all(line >= 0 for line in lines)
    parts = (result["goods"], result["shipping"], result["tax"])
    assert sum(Decimal(part) for part in parts) == Decimal(result["total"])


def test_orders_are_checked_in_words():
    assert checking.problems_of([]) == ["an order is a JSON object"]
    found = checking.problems_of({"customer": {"country": "de"}, "items": [{"sku": "A"}, {}]})
    assert found == [
        "customer.name is missing",
        "customer.country must be two capital letters, such as DE",
        "item 1 (A): quantity must be 1 to 500",
        "item 2 has no sku",
    ]
    for path in (ORDERS / "inputs").glob("*.json"):
        assert checking.problems_of(json.loads(path.read_text())) == []


def test_lines_of_one_product_are_merged():
    items = [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 2}, {"sku": "A", "quantity": 3}]
    assert checking.merged(items) == [{"sku": "A", "quantity": 4}, {"sku": "B", "quantity": 2}]


def node(script):
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    done = subprocess.run(
        [found, "--input-type=module", "-e", script],
        cwd=ORDERS,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_stock_is_taken_from_the_nearest_warehouse_that_has_it_all():
    result = node(
        """
        import { readFileSync } from "node:fs";
        import { allocate, open, seal } from "./stock/allocation.mjs";
        const catalogue = JSON.parse(readFileSync("shop-data/shop/catalogue.json"));
        const take = (country, ...items) =>
          allocate(items.map(([sku, quantity]) => ({ sku, quantity })), country, catalogue);
        const token = seal({ order: "o-1" }, "key");
        console.log(JSON.stringify({
          near: take("DE", ["BK-100", 2]),
          whole: take("NL", ["BK-100", 6]),
          split: take("DE", ["TE-601", 7]),
          missing: take("DE", ["TE-601", 20], ["BK-101", 1], ["XX", 1]),
          opened: open(token, "key"),
          forged: [open(token, "other"), open("x.y", "key"), open(undefined, "key")],
        }));
        """
    )
    assert result["near"] == {"picks": {"leipzig": [{"sku": "BK-100", "quantity": 2}]}, "days": 1}
    assert list(result["whole"]["picks"]) == ["leipzig"]
    assert result["split"]["picks"] == {
        "leipzig": [{"sku": "TE-601", "quantity": 5}],
        "rotterdam": [{"sku": "TE-601", "quantity": 2}],
    }
    assert result["missing"] == {
        "missing": ["TE-601: 20 ordered, 8 in stock", "XX: 1 ordered, 0 in stock"]
    }
    assert result["opened"] == {"order": "o-1"}
    assert result["forged"] == [None, None, None]


def test_letter_lines_up_its_amounts():
    price = priced("DE", ("BK-101", 2), ("CF-202", 1))
    event = {"order": "o-1", "customer": {"name": "Ada"}, "price": price, "days": 1}
    picks = {"leipzig": [{"sku": "BK-101", "quantity": 2}, {"sku": "CF-202", "quantity": 1}]}
    text = node(
        f"""
        import {{ letter }} from "./confirm/letter.mjs";
        console.log(JSON.stringify(letter({json.dumps(event)}, {json.dumps(picks)})));
        """
    )
    lines = text.splitlines()
    assert lines[1] == "your order o-1 will be with you in 1 day (3 from leipzig)."
    assert len({len(line) for line in lines[3:]}) == 1
    assert lines[-1].endswith(price["total"])
