/**
 * Sees what a monitored execution calls, and adds trace information to it. While nothing is monitored, all that it adds
 * to a call is the question whether something is.
 *
 * Covered: `http`, `https`, `fetch` and undici, `http2`, and connections by `net` and `tls`. Not seen: what worker threads,
 * child processes and native code do, and what goes on after the answer has ended.
 */
"use strict";

const { begin, drawFrom } = require("./calls.cjs");
const { watchConnections } = require("./connections.cjs");
const { watchFetch, watchFetches } = require("./fetching.cjs");
const { watchRequests } = require("./requests.cjs");
const { watchSessions } = require("./sessions.cjs");

/** Watch everything from now on, but for the requests of `agent`, the runtime's own; `random` is as `Math.random`. */
function watch(agent, random) {
  drawFrom(random);
  watchRequests(agent);
  watchFetches();
  watchConnections();
}

const EXAMPLE = {
  "lambda-runtime-trace-id": "Root=1-00000000-000000000000000000000001;Parent=0000000000000001;Sampled=1;Forerun=1-1-1-1",
};

/** What has run once is compiled: the first call of a function finds it so. */
function rehearse() {
  const execution = begin(EXAMPLE, async () => true, process.cpuUsage());
  const { call } = execution.request("POST", "example:80", "/2015-03-31/functions/1?a=b", { authorization: "AWS4-" });
  call.send("{}");
  call.answer(200);
  execution.close();
}

module.exports = { begin, rehearse, watch, watchFetch, watchSessions };
