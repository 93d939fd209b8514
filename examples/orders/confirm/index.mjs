// The function `confirm`: runs after the customer has been answered; commits the stock and writes the letter.

import { request } from "node:http";
import { request as secureRequest } from "node:https";

import { letter } from "./letter.mjs";

export async function handler(event) {
  const reservation = await post(new URL("commit", process.env.STOCK_URL), {
    token: event.reservation,
  });
  const text = letter(event, reservation.picks);
  console.log(text);
  return { order: event.order, letter: text };
}

// A platform that sets AWS_ENDPOINT_URL answers for its functions' host names at that address.
function post(url, content) {
  const at = process.env.AWS_ENDPOINT_URL ? new URL(url.pathname, process.env.AWS_ENDPOINT_URL) : url;
  const send = at.protocol === "https:" ? secureRequest : request;
  const headers = { "content-type": "application/json", host: url.host };
  return new Promise((resolve, reject) => {
    const call = send(at, { method: "POST", headers, timeout: 5000 }, (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("error", reject);
      answer.on("end", () => {
        const body = Buffer.concat(chunks).toString();
        if (answer.statusCode === 200) resolve(JSON.parse(body));
        else reject(new Error(`${url.pathname} answered ${answer.statusCode}: ${body}`));
      });
    });
    call.on("timeout", () => call.destroy(new Error(`${url.pathname} did not answer in 5 s`)));
    call.on("error", reject);
    call.end(JSON.stringify(content));
  });
}
