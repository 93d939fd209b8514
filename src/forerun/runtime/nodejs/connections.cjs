/** Connections that are opened by other means than HTTP: to databases, caches, queues. */
"use strict";

const { errorMonitor } = require("node:events");
const { Socket } = require("node:net");

const watching = require("./calls.cjs");
const { isFetchConnecting } = require("./fetching.cjs");
const { carriesRequests } = require("./requests.cjs");
const { isSessionConnecting, watchSessions } = require("./sessions.cjs");

/** Watch what sockets connect to; a call ends when it is connected. */
function watchConnections() {
  const original = Socket.prototype.connect;
  const value = function connect(...args) {
    if (watching.current === undefined || isFetchConnecting()) {
      return original.apply(this, args);
    }
    const call = begun(this, args);
    try {
      return original.apply(this, args);
    } catch (error) {
      call?.fail(error);
      throw error;
    }
  };
  Object.defineProperty(Socket.prototype, "connect", { value, writable: true, configurable: true });
}

function begun(socket, args) {
  try {
    if (watchSessions() && isSessionConnecting()) {
      return undefined;
    }
    // Whom it belongs to shows when it has been handed over, and no more when that has let it go.
    let isOwned = false;
    const look = () => (isOwned ||= carriesRequests(socket));
    const call = watching.current.connection(place(args), look);
    socket.once("connect", () => {
      look();
      call.end();
    });
    socket.once(errorMonitor, (error) => {
      look();
      call.fail(error);
    });
    socket.once("close", () => call.end());
    return call;
  } catch {
    return undefined;
  }
}

function place(args) {
  const [first, second] = Array.isArray(args[0]) ? args[0] : args;
  const options = typeof first === "object" ? first : byPosition(first, second);
  return options.path ? `unix:${options.path}` : `${options.host ?? "localhost"}:${options.port}`;
}

function byPosition(first, second) {
  if (typeof first === "string" && !/^\d+$/.test(first)) {
    return { path: first };
  }
  return { port: first, host: typeof second === "string" ? second : undefined };
}

module.exports = { watchConnections };
