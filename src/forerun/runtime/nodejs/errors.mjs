/** Errors as clients get them and as the log shows them, in AWS's shapes. */
import util from "node:util";

class RuntimeError extends Error {
  constructor(name, cause) {
    super(String(cause));
    this.name = name;
    if (cause?.stack) {
      this.stack = cause.stack;
    }
  }
}

export class ImportModuleError extends RuntimeError {
  constructor(cause) {
    super("Runtime.ImportModuleError", cause);
  }
}

export class UserCodeSyntaxError extends RuntimeError {
  constructor(cause) {
    super("Runtime.UserCodeSyntaxError", cause);
  }
}

export class HandlerNotFound extends RuntimeError {
  constructor(message) {
    super("Runtime.HandlerNotFound", message);
  }
}

export class MalformedHandlerName extends RuntimeError {
  constructor(message) {
    super("Runtime.MalformedHandlerName", message);
  }
}

export class UnhandledPromiseRejection extends RuntimeError {
  constructor(reason, promise) {
    super("Runtime.UnhandledPromiseRejection", reason);
    this.reason = reason;
    this.promise = promise;
  }
}

function isError(value) {
  return (
    util.types.isNativeError(value) ||
    (value?.name !== undefined && value?.message !== undefined && value?.stack !== undefined)
  );
}

/** `{errorType, errorMessage, trace}` of whatever was thrown. */
export function describe(error) {
  try {
    if (isError(error)) {
      return {
        errorType: String(error.name),
        errorMessage: String(error.message),
        trace: String(error.stack).split("\n"),
      };
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch {
    return {
      errorType: "handled",
      errorMessage:
        "callback called with Error argument, but there was a problem while retrieving one or more of its " +
        "message, name, and stack",
      trace: [],
    };
  }
}

function withOwnMembers(error) {
  if (!(error instanceof Error)) {
    return error;
  }
  const shown = { errorType: error.name, errorMessage: error.message, code: error.code, ...error };
  if (typeof error.stack === "string") {
    shown.stack = error.stack.split("\n");
  }
  return shown;
}

/** The error for the log: a tab, then JSON with the error's own members. */
export function formatted(error) {
  try {
    return `\t${JSON.stringify(error, (_key, value) => withOwnMembers(value))}`;
  } catch {
    return `\t${JSON.stringify(describe(error))}`;
  }
}
