/** `console` in AWS's log formats: one line an event on standard output. */
import util from "node:util";

const LEVELS = { TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6 };
const METHODS = {
  trace: "TRACE",
  debug: "DEBUG",
  log: "INFO",
  info: "INFO",
  warn: "WARN",
  error: "ERROR",
  fatal: "FATAL",
};

const request = { id: undefined, tenant: undefined };

/** Which invocation the following events belong to. */
export function setRequest(id, tenant) {
  request.id = id;
  request.tenant = tenant;
}

function textEvent(level, args) {
  return [new Date().toISOString(), String(request.id), level, util.format(...args)].join("\t").replaceAll("\n", "\r");
}

function jsonEvent(level, args) {
  const event = { timestamp: new Date().toISOString(), level, requestId: request.id, tenantId: request.tenant };
  const error = args.find((value) => value instanceof Error);
  if (args.length === 1 && error === undefined) {
    event.message = typeof args[0] === "object" && args[0] !== null ? args[0] : util.format(args[0]);
  } else {
    event.message = util.format(...args);
  }
  if (error !== undefined) {
    event.errorType = error.name ?? "UnknownError";
    event.errorMessage = error.message;
    event.stackTrace = typeof error.stack === "string" ? error.stack.split("\n") : [];
  }
  try {
    return JSON.stringify(event, jsonError);
  } catch {
    return JSON.stringify({ ...event, message: util.format(...args) }, jsonError);
  }
}

function jsonError(_key, value) {
  if (value instanceof Error) {
    return { errorType: value.name, errorMessage: value.message, stackTrace: String(value.stack).split("\n") };
  }
  return typeof value === "bigint" ? value.toString() : value;
}

/** Replace the methods of `console`; `level` is the least that is written, in the JSON format. */
export function patchConsole(format, level) {
  const json = format?.toUpperCase() === "JSON";
  const least = json ? (LEVELS[level?.toUpperCase()] ?? LEVELS.INFO) : 0;
  const render = json ? jsonEvent : textEvent;
  for (const [method, name] of Object.entries(METHODS)) {
    console[method] =
      LEVELS[name] < least
        ? () => {}
        : (...args) => {
            process.stdout.write(`${render(name, args)}\n`);
          };
  }
}
