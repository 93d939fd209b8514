/**
 * Requests of `node:http` and `node:https`, by whatever way they are made.
 *
 * All of them are a `ClientRequest`, which writes its head in `_storeHeader`: there the headers are added, to a copy that
 * the function does not see.
 */
"use strict";

const { ClientRequest } = require("node:http");

const watching = require("./calls.cjs");

const calls = new WeakMap();
const sockets = new WeakSet();
let ownAgent;

/** Whether a socket carries requests. */
function carriesRequests(socket) {
  return sockets.has(socket);
}

/** Watch requests, but for those of `agent`, which are the runtime's own. */
function watchRequests(agent) {
  ownAgent = agent;
  replace("_storeHeader", (original) => function _storeHeader(firstLine, headers) {
    const edited = watching.current === undefined || this.agent === ownAgent ? headers : edit(this, headers);
    return original.call(this, firstLine, edited);
  });
  replace("onSocket", (original) => function onSocket(socket, ...rest) {
    for (let each = socket; each && typeof each === "object"; each = each._parent) {
      sockets.add(each);
    }
    return original.call(this, socket, ...rest);
  });
  for (const name of ["write", "end"]) {
    replace(name, (original) => function (...args) {
      const result = original.apply(this, args);
      happened(this, "sent", args);
      return result;
    });
  }
  replace("emit", (original) => function emit(...args) {
    happened(this, args[0], args);
    return original.apply(this, args);
  });
}

/** Note what happens with a request; nothing of it reaches the function. */
function happened(request, event, args) {
  const call = watching.current === undefined ? undefined : calls.get(request);
  if (call === undefined) {
    return;
  }
  try {
    HAPPENED[event]?.(call, args, request);
  } catch {
    // As when a body is a buffer that was given away.
  }
}

function replace(name, make) {
  const value = make(ClientRequest.prototype[name]);
  Object.defineProperty(ClientRequest.prototype, name, { value, writable: true, configurable: true });
}

const HAPPENED = {
  sent: (call, [chunk, encoding]) => call.send(chunk, encoding),
  response: (call, [, response]) => watchResponse(call, response),
  upgrade: (call, [, response]) => taken(call, response),
  connect: (call, [, response]) => taken(call, response),
  error: (call, [, error]) => call.fail(error),
  close: (call, _, request) => {
    if (!request.res) {
      call.fail({ code: "ECONNRESET" });
    }
  },
};

function taken(call, response) {
  call.answer(response.statusCode);
  call.end();
}

function watchResponse(call, response) {
  call.answer(response.statusCode);
  const { push } = response;
  const value = function (chunk, encoding) {
    call.receivedBytes += chunk?.byteLength ?? chunk?.length ?? 0;
    return push.call(this, chunk, encoding);
  };
  Object.defineProperty(response, "push", { value, writable: true, configurable: true });
  response.once("end", () => call.end());
  response.once("close", () => (response.complete ? call.end() : call.fail(response.errored ?? { code: "ECONNRESET" })));
}

function edit(request, headers) {
  try {
    const pairs = pairsOf(headers);
    return pairs ? begun(request, pairs) : headers;
  } catch {
    return headers;
  }
}

function begun(request, pairs) {
  const given = {};
  for (const [name, value] of pairs) {
    const key = String(name).toLowerCase();
    if (watching.HEADERS.has(key) || key === "host") {
      given[key] = String(value);
    }
  }
  const { host, target } = addressed(request, given.host ?? "");
  const { call, taken, added } = watching.current.request(request.method, host, target, given);
  calls.set(request, call);
  const kept = taken.length > 0 ? pairs.filter(([name]) => !taken.includes(String(name).toLowerCase())) : pairs;
  return [...kept, ...added];
}

/** Headers as Node gives them to `_storeHeader`, as pairs; undefined for a form that it does not use. */
function pairsOf(headers) {
  if (headers === undefined || headers === null) {
    return [];
  }
  if (Array.isArray(headers)) {
    if (headers.length === 0 || Array.isArray(headers[0])) {
      return headers;
    }
    return headers.flatMap((name, at) => (at % 2 === 0 ? [[name, headers[at + 1]]] : []));
  }
  return Object.getPrototypeOf(headers) === null ? Object.values(headers) : undefined;
}

function addressed(request, hostHeader) {
  const target = String(request.path);
  if (request.socketPath) {
    return { host: `unix:${request.socketPath}`, target };
  }
  // What is sent to a proxy names its goal.
  const absolute = /^https?:\/\/([^/]+)(.*)$/.exec(target);
  if (absolute) {
    return { host: withPort(absolute[1], target.startsWith("https") ? 443 : 80), target: absolute[2] || "/" };
  }
  if (request.method === "CONNECT") {
    return { host: target, target: "/" };
  }
  const name = String(request.host);
  const named = name.includes(":") ? `[${name}]` : name;
  const same = hostHeader === named || hostHeader.startsWith(`${named}:`);
  return { host: withPort(same ? hostHeader : named, request.protocol === "https:" ? 443 : 80), target };
}

function withPort(host, port) {
  return /:\d+$/.test(host) ? host : `${host}:${port}`;
}

module.exports = { carriesRequests, watchRequests };
