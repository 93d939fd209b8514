/**
 * Runs Node.js handlers as AWS's managed runtime does: Node 18 or later, no packages.
 *
 * It is started before its function is known. One line of JSON on descriptor 3 brings `environment` (complete) and
 * `task_root`; without that descriptor the process's own environment counts. Then it loads the handler and serves
 * the Runtime API at AWS_LAMBDA_RUNTIME_API until its process is ended.
 *
 * Differences from AWS, on purpose: the AWS SDK for JavaScript is not bundled, functions bring `@aws-sdk/*` with
 * them or in a layer; what Node reads at its start (NODE_OPTIONS, LD_LIBRARY_PATH) has no effect. Newlines inside one
 * console call become carriage returns, so that it stays one log event.
 */
import fs from "node:fs";
import path from "node:path";
import http from "node:http";
import Module from "node:module";
import { once } from "node:events";

import { describe, formatted, MalformedHandlerName, UnhandledPromiseRejection } from "./errors.mjs";
import { loadHandler } from "./handler.mjs";
import { patchConsole, setRequest } from "./log.mjs";
import { HIGH_WATER_MARK, STREAMING, offerStreaming, ResponseStream } from "./streaming.mjs";
import { monitor, prepare } from "./tracing.mjs";

const ASSIGNMENT_FD = 3;
const API = "/2018-06-01/runtime/";
const OWN_API = "/forerun/runtime/";
const TAKEN = 202;
const W3C_FIELDS = ["traceparent", "tracestate", "baggage"];
const JSON_TYPE = "application/json";
// The nodes of the API answer at once, except for the next invocation, which may be hours away.
const ANSWER_MS = 60_000;
// How long nobody has come before what can wait is loaded.
const LEISURE_MS = 30;

let post;
let getNext;
let execute;
let current;
let whenIdle;
const agent = new http.Agent({ keepAlive: true, maxSockets: 2, noDelay: true });

function readAssignment() {
  return new Promise((resolve, reject) => {
    let text = "";
    const stream = fs.createReadStream(null, { fd: ASSIGNMENT_FD, encoding: "utf8" });
    stream.on("data", (part) => {
      text += part;
      if (text.includes("\n")) {
        stream.destroy();
        resolve(JSON.parse(text.slice(0, text.indexOf("\n"))));
      }
    });
    stream.on("error", (error) => (error.code === "EBADF" ? resolve(undefined) : reject(error)));
    // Its host has gone, and nobody will ever ask for anything.
    stream.on("end", () => (text ? reject(new Error("assignment without end of line")) : process.exit(0)));
  });
}

function takeAssignment(assignment) {
  if (assignment) {
    for (const name of Object.keys(process.env)) {
      delete process.env[name];
    }
    Object.assign(process.env, assignment.environment);
  }
  process.env.LAMBDA_TASK_ROOT ??= assignment?.task_root ?? process.cwd();
  process.chdir(process.env.LAMBDA_TASK_ROOT);
  // NODE_PATH has been read before it was known.
  Module._initPaths?.();
}

function connect(address) {
  const colon = address.lastIndexOf(":");
  const target = { host: address.slice(0, colon), port: Number(address.slice(colon + 1)), agent };

  async function exchange(request, body) {
    const answered = once(request, "response");
    request.end(body);
    const [response] = await answered;
    const parts = [];
    for await (const part of response) {
      parts.push(part);
    }
    return { status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) };
  }

  getNext = () => exchange(http.request({ ...target, method: "GET", path: `${API}invocation/next` }));
  const postTo = (path, body, headers) => {
    const data = Buffer.from(body);
    const all = { "Content-Type": JSON_TYPE, "Content-Length": data.length, ...headers };
    const options = { ...target, method: "POST", path, headers: all, timeout: ANSWER_MS };
    return exchange(http.request(options), data);
  };
  post = (name, body, headers) => postTo(API + name, body, headers);
  post.open = (name, headers) =>
    http.request({ ...target, method: "POST", path: API + name, headers: { ...headers } });
  execute = (invocation) => {
    const report = async (body) => {
      const { status } = await postTo(`${OWN_API}${invocation.id}/calls`, body, fence(invocation));
      return status === TAKEN;
    };
    return monitor(invocation.headers, report, agent);
  };
}

function fence(invocation) {
  const id = invocation.headers["lambda-runtime-invocation-id"];
  return id ? { "Lambda-Runtime-Invocation-Id": id } : {};
}

/** Headers of an answer: which invocation it is for, and what is left to tell of the calls that it made. */
async function answering(invocation) {
  const last = await invocation.execution?.close();
  return { ...fence(invocation), ...last };
}

async function postError(invocation, error) {
  const { errorType, ...rest } = describe(error);
  const headers = { "Lambda-Runtime-Function-Error-Type": encodeURI(errorType), ...(await answering(invocation)) };
  return post(`invocation/${invocation.id}/error`, JSON.stringify({ errorType, ...rest }), headers);
}

async function postInitError(error) {
  const described = describe(error);
  await post("init/error", JSON.stringify(described), {
    "Lambda-Runtime-Function-Error-Type": encodeURI(described.errorType),
  });
}

function serialize(result) {
  try {
    return JSON.stringify(result === undefined ? null : result) ?? "null";
  } catch {
    throw new Error("Unable to stringify response body");
  }
}

function parseHeader(text, name) {
  if (!text) {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

/** The caller's client context, and the W3C trace context that the platform put into it. */
function parseClientContext(text) {
  const given = parseHeader(text, "ClientContext");
  if (typeof given !== "object" || given === null || !("w3c" in given)) {
    return { clientContext: given, w3c: {} };
  }
  const { w3c, ...rest } = given;
  const fields = W3C_FIELDS.flatMap((name) => (typeof w3c?.[name] === "string" ? [[name, w3c[name]]] : []));
  return { clientContext: Object.keys(rest).length > 0 ? rest : undefined, w3c: Object.fromEntries(fields) };
}

function makeContext(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const { clientContext, w3c } = parseClientContext(headers["lambda-runtime-client-context"]);
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext,
    identity: parseHeader(headers["lambda-runtime-cognito-identity"], "CognitoIdentity"),
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    tenantId: headers["lambda-runtime-aws-tenant-id"],
    getRemainingTimeInMillis: () => deadline - Date.now(),
    w3c: () => ({ ...w3c }),
  };
}

/** Calls a handler that answers with one value: returned, promised, or given to a callback. */
function callBuffered(handler, event, context) {
  return new Promise((resolve, reject) => {
    const fail = (error) => {
      context.callbackWaitsForEmptyEventLoop = false;
      reject(error);
    };
    const succeed = (result) => {
      context.callbackWaitsForEmptyEventLoop = false;
      resolve(result);
    };
    const callback = (error, result) => {
      whenIdle = undefined;
      if (error !== undefined && error !== null) {
        reject(error);
      } else if (context.callbackWaitsForEmptyEventLoop) {
        whenIdle = () => resolve(result);
      } else {
        resolve(result);
      }
    };
    Object.assign(context, { succeed, fail, done: callback });
    // A handler that leaves nothing to wait for, and has not answered, answers null.
    whenIdle = () => resolve(undefined);
    const result = handler(event, context, callback);
    if (result !== null && typeof result?.then === "function") {
      result.then(succeed, fail);
    }
  });
}

async function runBuffered(handler, invocation, event, context) {
  let body;
  try {
    body = serialize(await callBuffered(handler, event, context));
  } catch (error) {
    console.error("Invoke Error", formatted(error));
    await postError(invocation, error);
    return;
  } finally {
    whenIdle = undefined;
  }
  const headers = invocation.execution ? await answering(invocation) : fence(invocation);
  await post(`invocation/${invocation.id}/response`, body, headers);
}

async function runStreaming(handler, invocation, event, context) {
  const open = (headers) =>
    post.open(`invocation/${invocation.id}/response`, { ...headers, ...fence(invocation) });
  const beforeEnd = () => invocation.execution?.close(false);
  const stream = new ResponseStream(open, beforeEnd, handler[HIGH_WATER_MARK]);
  invocation.stream = stream;
  try {
    await Promise.race([handler(event, stream, context), stream.broken]);
    await stream.finish();
  } catch (error) {
    console.error("Invoke Error", formatted(error));
    if (!(await stream.fail(describe(error)))) {
      await postError(invocation, error);
    }
  }
}

async function serveOne(handler) {
  const { headers, body } = await getNext();
  const invocation = { id: headers["lambda-runtime-aws-request-id"], headers };
  current = invocation;
  setRequest(invocation.id, headers["lambda-runtime-aws-tenant-id"]);
  if (headers["lambda-runtime-trace-id"]) {
    process.env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"];
  } else {
    delete process.env._X_AMZN_TRACE_ID;
  }
  let event;
  let context;
  try {
    event = JSON.parse(body);
    context = makeContext(headers);
  } catch (error) {
    await postError(invocation, error);
    return;
  }
  if (headers["forerun-monitored"]) {
    invocation.execution = execute(invocation);
  }
  const run = handler[STREAMING] === "response" ? runStreaming : runBuffered;
  await run(handler, invocation, event, context);
  current = undefined;
}

async function leave(title, error, status) {
  console.error(title, formatted(error));
  const invocation = current;
  try {
    if (invocation?.stream && (await invocation.stream.fail(describe(error)))) {
      return;
    }
    await (invocation ? postError(invocation, error) : postInitError(error));
  } catch {
    // The host has gone; the status tells the rest.
  } finally {
    process.exit(status);
  }
}

function watchProcess() {
  process.on("uncaughtException", (error) => leave("Uncaught Exception", error, 129));
  process.on("unhandledRejection", (reason, promise) =>
    leave("Unhandled Promise Rejection", new UnhandledPromiseRejection(reason, promise), 128),
  );
  process.on("beforeExit", () => {
    const act = whenIdle;
    whenIdle = undefined;
    if (act) {
      setImmediate(act);
    }
  });
}

async function main() {
  const leisure = setTimeout(prepare, LEISURE_MS, agent);
  takeAssignment(await readAssignment());
  clearTimeout(leisure);
  connect(process.env.AWS_LAMBDA_RUNTIME_API);
  patchConsole(process.env.AWS_LAMBDA_LOG_FORMAT, process.env.AWS_LAMBDA_LOG_LEVEL);
  offerStreaming();
  watchProcess();
  let handler;
  try {
    if (!process.env._HANDLER) {
      throw new MalformedHandlerName("_HANDLER is not set");
    }
    handler = await loadHandler(path.resolve(process.env.LAMBDA_TASK_ROOT), process.env._HANDLER);
  } catch (error) {
    console.error("Uncaught Exception", formatted(error));
    await postInitError(error);
    process.exit(1);
  }
  for (;;) {
    await serveOne(handler);
  }
}

await main();
