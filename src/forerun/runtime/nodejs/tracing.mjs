/**
 * Sees what a monitored execution calls, and adds trace information to it. Nothing is changed in a process before its
 * first monitored execution.
 *
 * Covered: `http`, `https`, `fetch` and undici, `http2`, and connections by `net` and `tls`. Not seen: what worker threads,
 * child processes and native code do.
 */
import { begin } from "./calls.mjs";
import { watchConnections } from "./connections.mjs";
import { watchFetches } from "./fetching.mjs";
import { watchRequests } from "./requests.mjs";
import { watchSessions } from "./sessions.mjs";

let isWatching = false;

/**
 * Monitor the invocation that came with `headers`. `report(body)` gives the host JSON; `agent` carries such requests.
 *
 * The answer takes with it what `close` of the returned execution gives.
 */
export function monitor(headers, report, agent) {
  if (!isWatching) {
    isWatching = true;
    watchRequests(agent);
    watchFetches();
    watchConnections();
  }
  watchSessions();
  return begin(headers, report);
}
