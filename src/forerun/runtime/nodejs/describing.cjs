/**
 * What an outgoing call is called in a profile: the same for calls that differ in ids only. Pure.
 *
 * The rules are those of the Python runtime (`describing.py`).
 */
"use strict";

const MAX_PATH = 256;
const MAX_NAME = 128;
// A piece between separators that is an id: a number, a UUID, long hexadecimal, or long letters mixed with digits.
const ID = new RegExp(
  "(?<![0-9A-Za-z])" +
    "(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}" +
    "|[0-9]+" +
    "|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{16,}" +
    "|(?=[A-Za-z]*[0-9])[0-9A-Za-z]{20,})" +
    "(?![0-9A-Za-z])",
  "g",
);
const API_DATE = /^\/[0-9]{4}-[0-9]{2}-[0-9]{2}\//;
const LAMBDA = /^\/[0-9]{4}-[0-9]{2}-[0-9]{2}\/functions(?:\/|$)/;
const SCOPE = /\/[0-9]{8}\/(?:[^/,\s]{1,64}\/)?([^/,\s]{1,64})\/aws4_request/;
const ACTION = /(?:^|[?&])Action=([A-Za-z0-9]{1,128})(?:&|$)/;
const LAMBDA_OPERATIONS = {
  "invocations": "Invoke",
  "invoke-async": "InvokeAsync",
  "response-streaming-invocations": "InvokeWithResponseStream",
};

/** `target` without its query, with `*` for ids; paths of the Lambda API are kept, as they name functions. */
function maskedPath(target) {
  let path = target.split(/[?#]/, 1)[0];
  path = (path.startsWith("/") ? path : `/${path}`).slice(0, MAX_PATH * 4);
  if (!LAMBDA.test(path)) {
    const kept = API_DATE.exec(path)?.[0].length ?? 0;
    path = path.slice(0, kept) + path.slice(kept).replace(ID, "*");
  }
  return path.slice(0, MAX_PATH);
}

/** The service that an AWS request is signed for, by its header or its query; empty for other requests. */
function signingName(authorization, target) {
  if (authorization.startsWith("AWS4-")) {
    return SCOPE.exec(authorization)?.[1] ?? "";
  }
  const [, credential] = target.split("X-Amz-Credential=", 2);
  return SCOPE.exec(credential?.split("&", 1)[0].replace(/%2f/gi, "/") ?? "")?.[1] ?? "";
}

/** What a request to `service` asks for, where that can be seen without its body; `named` is `X-Amz-Target`. */
function operationOf(service, method, target, named) {
  if (!service) {
    return "";
  }
  if (named) {
    return named.slice(named.lastIndexOf(".") + 1).slice(0, MAX_NAME);
  }
  const [path, query = ""] = target.split("?", 2);
  if (service === "lambda" && method === "POST" && LAMBDA.test(path)) {
    return LAMBDA_OPERATIONS[path.slice(path.lastIndexOf("/") + 1)] ?? "";
  }
  const [, inPath] = path.split("/operation/", 2);
  return inPath === undefined ? actionIn(query) : inPath.split("/", 1)[0].slice(0, MAX_NAME);
}

/** The member `Action` of a form: AWS's older services are asked by it, in the query or in the body. */
function actionIn(form) {
  return ACTION.exec(form)?.[1] ?? "";
}

module.exports = { maskedPath, signingName, operationOf, actionIn };
