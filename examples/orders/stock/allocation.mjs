// Which warehouse sends what, and tokens that carry a reservation so that nothing need be stored. Pure.

import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * Take each item from the fewest warehouses, those nearest to the country first.
 * Returns {picks: {warehouse: [{sku, quantity}]}, days} or {missing: [reasons]}.
 */
export function allocate(items, country, catalogue) {
  const days = (warehouse) =>
    catalogue.delivery_days[warehouse][country] ?? catalogue.delivery_days[warehouse].default;
  const warehouses = Object.keys(catalogue.delivery_days).sort((a, b) => days(a) - days(b));
  const picks = {};
  const missing = [];
  for (const { sku, quantity } of items) {
    const stock = catalogue.products[sku]?.stock ?? {};
    const sources = split(quantity, stock, warehouses);
    if (sources === null) {
      const there = Object.values(stock).reduce((sum, count) => sum + count, 0);
      missing.push(`${sku}: ${quantity} ordered, ${there} in stock`);
      continue;
    }
    for (const [warehouse, count] of sources) {
      (picks[warehouse] ??= []).push({ sku, quantity: count });
    }
  }
  if (missing.length > 0) return { missing };
  return { picks, days: Math.max(...Object.keys(picks).map(days)) };
}

function split(quantity, stock, warehouses) {
  const alone = warehouses.find((warehouse) => (stock[warehouse] ?? 0) >= quantity);
  if (alone !== undefined) return [[alone, quantity]];
  const sources = [];
  let left = quantity;
  for (const warehouse of warehouses) {
    const count = Math.min(left, stock[warehouse] ?? 0);
    if (count > 0) sources.push([warehouse, count]);
    left -= count;
  }
  return left === 0 ? sources : null;
}

/** A reservation as a text that only the holder of the key could have made. */
export function seal(reservation, key) {
  const content = Buffer.from(JSON.stringify(reservation)).toString("base64url");
  return `${content}.${sign(content, key)}`;
}

/** The reservation in a token, or null when it is not one of ours. */
export function open(token, key) {
  const [content, signature] = String(token).split(".");
  const expected = Buffer.from(sign(content, key));
  const given = Buffer.from(signature ?? "");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
  return JSON.parse(Buffer.from(content, "base64url").toString());
}

function sign(content, key) {
  return createHmac("sha256", key).update(content).digest("base64url");
}
