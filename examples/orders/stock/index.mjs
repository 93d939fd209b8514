// The function `stock`, called through its URL: POST /reserve and POST /commit.

import { readFileSync } from "node:fs";

import { allocate, open, seal } from "./allocation.mjs";

const catalogue = JSON.parse(readFileSync(process.env.CATALOGUE ?? "/opt/shop/catalogue.json", "utf8"));
const key = process.env.RESERVATION_KEY;

export async function handler(event) {
  const body = event.isBase64Encoded ? Buffer.from(event.body, "base64").toString() : event.body;
  let request;
  try {
    request = JSON.parse(body ?? "");
  } catch {
    return answer(400, { message: "the body is not JSON" });
  }
  if (event.rawPath === "/reserve") return reserve(request);
  if (event.rawPath === "/commit") return commit(request);
  return answer(404, { message: "POST /reserve or /commit" });
}

function reserve({ order, country, items }) {
  const result = allocate(items, country, catalogue);
  if (result.missing) return answer(409, result);
  console.log(`order ${order} is reserved in ${Object.keys(result.picks).join(" and ")}`);
  return answer(200, { days: result.days, token: seal({ order, picks: result.picks }, key) });
}

function commit({ token }) {
  const reservation = open(token, key);
  if (reservation === null) return answer(403, { message: "this reservation is not ours" });
  console.log(`order ${reservation.order} is committed`);
  return answer(200, reservation);
}

function answer(statusCode, content) {
  return {
    statusCode,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(content),
  };
}
