"""Whether an order can be understood. Pure."""

MAX_LINES = 50
MAX_QUANTITY = 500


def problems_of(order):
    """Every problem in words for the customer; an empty list when there is none."""
    if not isinstance(order, dict):
        return ["an order is a JSON object"]
    found = []
    customer = order.get("customer")
    if not isinstance(customer, dict) or not str(customer.get("name", "")).strip():
        found.append("customer.name is missing")
    country = customer.get("country") if isinstance(customer, dict) else None
    if not (isinstance(country, str) and len(country) == 2 and country.isupper()):
        found.append("customer.country must be two capital letters, such as DE")
    items = order.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_LINES:
        return [*found, f"items must be a list of 1 to {MAX_LINES}"]
    for number, item in enumerate(items, start=1):
        found += _problems_of_item(item, number)
    return found


def merged(items):
    """Lines of the same product as one, in the order of their first mention."""
    quantities = {}
    for item in items:
        quantities[item["sku"]] = quantities.get(item["sku"], 0) + item["quantity"]
    return [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]


def _problems_of_item(item, number):
    if not isinstance(item, dict) or not isinstance(item.get("sku"), str):
        return [f"item {number} has no sku"]
    quantity = item.get("quantity")
    whole = isinstance(quantity, int) and not isinstance(quantity, bool)
    if not whole or not 1 <= quantity <= MAX_QUANTITY:
        return [f"item {number} ({item['sku']}): quantity must be 1 to {MAX_QUANTITY}"]
    return []
