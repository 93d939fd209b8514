/**
 * Monitored invocations. Most of them call nothing, or start while a caller waits: what watches calls (`watching.cjs`, in
 * CommonJS because that can be loaded in the middle of a call) is loaded when the first call is made, or at leisure.
 */
import { subscribe } from "node:diagnostics_channel";
import { ClientRequest } from "node:http";
import { createRequire } from "node:module";
import { Socket } from "node:net";

// As long as it is nobody else's.
const { random } = Math;

let watching;
let waiting;
let ownAgent;
let isWaiting = false;

/** Be prepared, as there is time; `agent` carries the runtime's own requests. */
export function prepare(agent) {
  load(agent);
  watching.rehearse();
}

function load(agent) {
  if (watching === undefined) {
    const loaded = createRequire(import.meta.url)("./watching.cjs");
    loaded.watch(agent, random);
    watching = loaded;
  }
}

/**
 * Monitor the invocation that came with `headers`. `report(body)` gives the host JSON and resolves to whether it was
 * taken; `agent` carries the runtime's own requests.
 *
 * The answer takes with it the headers that `close` of the returned execution resolves to.
 */
export function monitor(headers, report, agent) {
  if (watching !== undefined) {
    watching.watchSessions();
    return watching.begin(headers, report, process.cpuUsage());
  }
  ownAgent = agent;
  waitForCalls();
  waiting = new Uneventful(headers, report);
  return waiting;
}

/** A monitored execution that has called nothing yet. */
class Uneventful {
  #cpu = process.cpuUsage();
  #headers;
  #report;
  #eventful;

  constructor(headers, report) {
    this.#headers = headers;
    this.#report = report;
  }

  /** Its first call: from now on it is watched. */
  watch() {
    waiting = undefined;
    try {
      load(ownAgent);
      watching.watchSessions();
      this.#eventful = watching.begin(this.#headers, this.#report, this.#cpu);
    } catch {
      // As when memory is short. It is for the function to go on.
    }
  }

  async close(inHeader = true) {
    if (this.#eventful) {
      return this.#eventful.close(inHeader);
    }
    waiting = undefined;
    const { user, system } = process.cpuUsage(this.#cpu);
    const last = JSON.stringify({ cpu_ms: (user + system) / 1000 });
    if (inHeader) {
      return { "Forerun-Calls": last };
    }
    await this.#report(last).catch(() => false);
    return {};
  }
}

/** Notice the first call, by whatever way it is made, and make it again when it is watched. */
function waitForCalls() {
  if (isWaiting) {
    return;
  }
  isWaiting = true;
  replace(Socket.prototype, "connect");
  for (const name of ["_storeHeader", "write", "end"]) {
    replace(ClientRequest.prototype, name);
  }
  subscribe("undici:request:create", (message) => {
    if (waiting !== undefined) {
      waiting.watch();
      watching?.watchFetch(message);
    }
  });
}

function replace(prototype, name) {
  const original = prototype[name];
  const value = function (...args) {
    if (waiting === undefined || this.agent === ownAgent) {
      return original.apply(this, args);
    }
    waiting.watch();
    return prototype[name].apply(this, args);
  };
  Object.defineProperty(prototype, name, { value, writable: true, configurable: true });
}
