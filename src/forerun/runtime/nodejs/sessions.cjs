/** Requests of `node:http2`, as gRPC and some clients of the AWS SDK make them. */
"use strict";

const { Duplex } = require("node:stream");

const watching = require("./calls.cjs");

let isWatched = false;

/** Watch HTTP/2 sessions, if the function has loaded the module; it is not loaded for this. Says whether it is. */
function watchSessions() {
  if (isWatched || !process.moduleLoadList?.includes("NativeModule http2")) {
    return isWatched;
  }
  isWatched = true;
  try {
    const prototype = sessionPrototype(require("node:http2"));
    const { request } = prototype;
    const value = function (headers, options) {
      const begun = watching.current === undefined ? undefined : edited(headers);
      const stream = request.call(this, begun?.headers ?? headers, options);
      if (begun) {
        watchStream(stream, begun.call);
      }
      return stream;
    };
    Object.defineProperty(prototype, "request", { value, writable: true, configurable: true });
  } catch {
    // Another form of the module: its requests are not watched.
  }
  return true;
}

/** Whether the connection that is being opened is a session's: nothing but the stack tells. */
function isSessionConnecting() {
  return String(new Error().stack).includes("node:internal/http2/");
}

/** Only a session leads to its class. This one goes nowhere. */
function sessionPrototype(http2) {
  const nowhere = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const session = http2.connect("http://localhost", { createConnection: () => nowhere });
  session.on("error", () => {});
  session.destroy();
  nowhere.destroy();
  return Object.getPrototypeOf(session);
}

function edited(headers) {
  try {
    const isList = Array.isArray(headers);
    const entries = isList ? pairs(headers) : Object.entries(headers ?? {});
    const given = {};
    for (const [name, value] of entries) {
      const key = name.toLowerCase();
      if (watching.HEADERS.has(key) || key.startsWith(":")) {
        given[key] = String(value);
      }
    }
    const { call, taken, added } = watching.current.request(given[":method"] ?? "GET", "", given[":path"] ?? "/", given);
    const kept = entries.filter(([name]) => !taken.includes(name.toLowerCase()));
    const lower = added.map(([name, value]) => [name.toLowerCase(), value]);
    if (isList) {
      return { call, headers: [...kept, ...lower].flat() };
    }
    const copy = Object.assign(Object.create(Object.getPrototypeOf(headers ?? {})), headers);
    taken.forEach((name) => Object.keys(copy).filter((key) => key.toLowerCase() === name).forEach((key) => delete copy[key]));
    return { call, headers: Object.assign(copy, Object.fromEntries(lower)) };
  } catch {
    return undefined;
  }
}

function pairs(list) {
  return list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1]]] : []));
}

function watchStream(stream, call) {
  // The session fills in what the function leaves out.
  const { ":authority": authority = "", ":scheme": scheme } = stream.sentHeaders ?? {};
  call.address(/:\d+$/.test(authority) ? authority : `${authority}:${scheme === "http" ? 80 : 443}`);
  stream.once("response", (headers) => call.answer(headers[":status"]));
  stream.once("end", () => call.end());
  stream.once("close", () => (stream.rstCode ? call.fail(stream.errored ?? { code: "ERR_HTTP2_STREAM_ERROR" }) : call.end()));
}

module.exports = { watchSessions, isSessionConnecting };
