// The confirmation as the customer reads it. Pure.

export function letter({ order, customer, price, days }, picks) {
  const width = Math.max(...price.lines.map((line) => line.name.length), 12);
  const row = (label, amount) => `${label.padEnd(width + 8)}${amount.padStart(10)}`;
  const parcels = Object.entries(picks)
    .map(([warehouse, items]) => `${items.reduce((sum, item) => sum + item.quantity, 0)} from ${warehouse}`)
    .join(", ");
  return [
    `Dear ${customer.name},`,
    `your order ${order} will be with you in ${days} ${days === 1 ? "day" : "days"} (${parcels}).`,
    "",
    ...price.lines.map((line) => row(`${String(line.quantity).padStart(5)} x ${line.name}`, line.net)),
    row("Shipping", price.shipping),
    row("Tax", price.tax),
    row(`Total ${price.currency}`, price.total),
  ].join("\n");
}
