/**
 * Requests of `fetch` and of undici, which Node's is made of, by the channels on which it tells of them.
 *
 * Subscribing does not load it: a function that never fetches pays nothing.
 */
"use strict";

const { subscribe } = require("node:diagnostics_channel");

const watching = require("./calls.cjs");

const calls = new WeakMap();
const counted = new WeakSet();
let connecting = false;

/** Whether the connection that is being opened is undici's. */
function isFetchConnecting() {
  return connecting;
}

/** Watch requests. */
function watchFetches() {
  subscribe("undici:request:create", watchFetch);
  subscribe("undici:request:headers", ({ request, response }) => calls.get(request)?.answer(response.statusCode));
  subscribe("undici:request:trailers", ({ request }) => calls.get(request)?.end());
  subscribe("undici:request:error", ({ request, error }) => calls.get(request)?.fail(error));
  subscribe("undici:client:beforeConnect", () => {
    // It connects before anything else can run.
    connecting = true;
    queueMicrotask(() => {
      connecting = false;
    });
  });
}

/** Watch a request that undici tells of, unless it is watched already. */
function watchFetch({ request }) {
  if (watching.current === undefined || calls.has(request)) {
    return;
  }
  try {
    begun(request);
  } catch {
    // A form of undici that is not known: its requests are not watched.
  }
}

function begun(request) {
  const { host, protocol } = new URL(request.origin);
  const lines = linesOf(request.headers);
  const given = {};
  for (const [name, value] of lines) {
    const key = String(name).toLowerCase();
    if (watching.HEADERS.has(key)) {
      given[key] = String(value);
    }
  }
  const place = /:\d+$/.test(host) ? host : `${host}:${protocol === "https:" ? 443 : 80}`;
  const { call, taken, added } = watching.current.request(request.method, place, request.path, given);
  calls.set(request, call);
  if (lines.some(([name]) => taken.includes(String(name).toLowerCase()))) {
    remove(request, taken);
  }
  for (const [name, value] of added) {
    request.addHeader(name, value);
  }
  watchBody(request, call);
  countReceived(Object.getPrototypeOf(request));
}

/** Headers as pairs: undici keeps them as one text, or as names and values in turn. */
function linesOf(headers) {
  if (typeof headers === "string") {
    return headers.split("\r\n").filter(Boolean).map((line) => [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1).trim()]);
  }
  return headers.flatMap((name, at) => (at % 2 === 0 ? [[name, headers[at + 1]]] : []));
}

function remove(request, taken) {
  const kept = linesOf(request.headers).filter(([name]) => !taken.includes(String(name).toLowerCase()));
  request.headers =
    typeof request.headers === "string" ? kept.map(([name, value]) => `${name}: ${value}\r\n`).join("") : kept.flat();
}

function watchBody(request, call) {
  const { body } = request;
  if (typeof body === "string" || ArrayBuffer.isView(body)) {
    call.send(body);
  } else if (body?.[Symbol.toStringTag] === "AsyncGenerator") {
    request.body = watched(body, call);
  } else if (request.contentLength > 0) {
    call.sentBytes = request.contentLength;
  }
}

async function* watched(body, call) {
  for await (const chunk of body) {
    call.send(chunk);
    yield chunk;
  }
}

function countReceived(prototype) {
  if (counted.has(prototype) || typeof prototype.onData !== "function") {
    return;
  }
  counted.add(prototype);
  const { onData } = prototype;
  prototype.onData = function (chunk) {
    const call = calls.get(this);
    if (call) {
      call.receivedBytes += chunk.length;
    }
    return onData.call(this, chunk);
  };
}

module.exports = { isFetchConnecting, watchFetch, watchFetches };
