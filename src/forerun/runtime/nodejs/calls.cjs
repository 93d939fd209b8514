/**
 * The calls that a monitored execution makes: begun, described, ended, and told to the host in batches.
 *
 * A sandbox runs one execution at a time, so there is one `current`; it is undefined while nothing is monitored, and
 * everything that watches asks that first. What is told are arrays in the order of `forerun.model.OutgoingCall`.
 */
"use strict";

const { clearTimeout, setTimeout } = require("node:timers");

const { actionIn, maskedPath, operationOf, signingName } = require("./describing.cjs");
const { Carrier, CONSIDERED } = require("./injection.cjs");

/** What a client has to show of a request's headers, by lower-case name. */
const HEADERS = new Set([...CONSIDERED, "x-amz-target", "content-type"]);

const FIRST_REPORT_MS = 20;
const REPORT_MS = 100;
const MAX_CALLS = 1000;
// More than this is told by a request of its own; less goes with the answer.
const MAX_HEADER = 8192;
const MAX_HOST = 256;
const MAX_NAME = 32;
const MAX_ERROR = 128;
const HASHED_BYTES = 65_536;
const DRIFT_MS = 2;

const clock = performance.now.bind(performance);
let random = Math.random;
let salt = 0;
let epoch = performance.timeOrigin;

/** The monitored execution under way. */
let current;

/**
 * Monitor from now on what an invocation with `headers` calls; `report(body)` gives the host a JSON text and resolves to
 * whether it was taken; `cpu` is what `process.cpuUsage` said when it began.
 */
function begin(headers, report, cpu) {
  // The clock that is precise does not follow corrections of the one that is right.
  if (Math.abs(Date.now() - epoch - clock()) > DRIFT_MS) {
    epoch = Date.now() - clock();
  }
  current = new Execution(headers, report, cpu);
  return current;
}

/** One monitored execution. No method of it throws. */
class Execution {
  #carrier;
  #report;
  #cpu;
  #open = new Set();
  // To be told, and told without having heard that it arrived.
  #news = new Set();
  #underway;
  #timer;
  #delay = FIRST_REPORT_MS;
  #count = 0;
  #dropped = 0;

  constructor(headers, report, cpu) {
    this.#cpu = cpu;
    this.#carrier = new Carrier(
      headers["lambda-runtime-trace-id"] ?? "",
      headers["forerun-tracestate"] ?? "",
      headers["forerun-baggage"] ?? "",
    );
    this.#report = report;
  }

  /**
   * A request begins; `given` are its headers among `HEADERS`.
   *
   * Returns the call and the headers to take away from it and to add to it.
   */
  request(method, host, target, given) {
    const call = new Call(this, "http", host);
    call.method = method.slice(0, MAX_NAME);
    call.path = maskedPath(target);
    call.service = signingName(given.authorization ?? "", target);
    call.operation = operationOf(call.service, method, target, given["x-amz-target"] ?? "");
    call.form = call.service !== "" && call.operation === "" && /form-urlencoded/.test(given["content-type"] ?? "");
    call.mix(`${method} ${target}`);
    // A tunnel's first request is for the proxy, which has no business with it.
    const edit = method === "CONNECT" ? { taken: [], added: [] } : this.#carrier.edit(call.spanId, given);
    call.injected = edit.added.length > 0;
    this.#add(call);
    return { call, ...edit };
  }

  /** A connection to `host` (`name:port`) is opened; `isOwned()` says later whether it belongs to a request. */
  connection(host, isOwned) {
    const call = new Call(this, "connection", host);
    call.isOwned = isOwned;
    this.#add(call);
    return call;
  }

  #add(call) {
    if (this.#count >= MAX_CALLS) {
      this.#dropped += 1;
      call.execution = undefined;
      return;
    }
    this.#count += 1;
    this.#open.add(call);
    this.tell(call);
  }

  /** Something new is known of a call. */
  tell(call) {
    if (call.ended) {
      this.#open.delete(call);
    }
    this.#news.add(call);
    if (this.#timer === undefined && this === current) {
      this.#wait(this.#delay);
      this.#delay = REPORT_MS;
    }
  }

  #send() {
    this.#timer = undefined;
    if (this !== current || this.#underway) {
      return;
    }
    const batch = this.#take();
    if (batch.length > 0) {
      this.#underway = batch;
      this.#report(text(batch)).then(
        (taken) => this.#sent(taken),
        () => this.#sent(false),
      );
    }
  }

  #sent(taken) {
    const batch = this.#underway;
    this.#underway = undefined;
    if (!taken) {
      batch.forEach((call) => this.#news.add(call));
    }
    if (this.#news.size > 0 && this.#timer === undefined && this === current) {
      this.#wait(REPORT_MS);
    }
  }

  #wait(delay) {
    this.#timer = setTimeout(() => this.#send(), delay);
    this.#timer.unref();
  }

  #take() {
    const batch = [...this.#news].filter((call) => {
      if (!call.isOwned?.()) {
        return true;
      }
      this.#open.delete(call);
      this.#count -= 1;
      call.execution = undefined;
      return false;
    });
    this.#news.clear();
    return batch;
  }

  /**
   * The execution ended: headers for its answer that tell the rest, which may take a report of its own.
   *
   * What is not known to have arrived is told again; the last word counts.
   */
  async close(inHeader = true) {
    if (this !== current) {
      return {};
    }
    current = undefined;
    clearTimeout(this.#timer);
    for (const call of this.#open) {
      call.conclude();
    }
    this.#underway?.forEach((call) => this.#news.add(call));
    const { user, system } = process.cpuUsage(this.#cpu);
    const last = text(this.#take(), { cpu_ms: (user + system) / 1000, dropped: this.#dropped });
    if (inHeader && last.length <= MAX_HEADER) {
      return { "Forerun-Calls": last };
    }
    await this.#report(last).catch(() => false);
    return {};
  }
}

/** One outgoing call. */
class Call {
  spanId = hex(bits()) + hex(bits());
  started = now();
  ended = 0;
  method = "";
  service = "";
  operation = "";
  path = "";
  status = 0;
  error = "";
  sentBytes = 0;
  receivedBytes = 0;
  injected = false;
  form = false;
  isOwned;
  #answered = 0;
  #hash = [salt, ~salt];
  #toHash = HASHED_BYTES;

  constructor(execution, kind, host) {
    this.execution = execution;
    this.kind = kind;
    this.address(host);
  }

  /** It goes to `host` (`name:port`). */
  address(host) {
    this.host = host.slice(0, MAX_HOST);
    this.mix(this.host);
  }

  /** The headers of the answer have come. */
  answer(status) {
    this.status = Number.isInteger(status) ? status : 0;
    this.#answered = now();
  }

  /** The answer was read to its end, or whatever else there was to come. */
  end(at = now()) {
    if (!this.ended) {
      this.ended = at;
      this.execution?.tell(this);
    }
  }

  /** It failed with `error`. */
  fail(error) {
    if (!this.ended) {
      this.error = nameOf(error);
      this.end();
    }
  }

  /** The execution ends: an answer that nobody read ended with its headers. */
  conclude() {
    if (this.#answered) {
      this.end(this.#answered);
    }
  }

  /** A piece of the body was sent. */
  send(chunk, encoding) {
    if (typeof chunk !== "string" && !ArrayBuffer.isView(chunk)) {
      return;
    }
    const bytes = typeof chunk === "string" ? Buffer.from(chunk, typeof encoding === "string" ? encoding : "utf8") : chunk;
    if (this.form && this.sentBytes === 0) {
      this.operation = actionIn(String(Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 4096))));
    }
    this.sentBytes += bytes.byteLength;
    this.#mixBytes(bytes);
  }

  /** Let `words` count for what makes two calls equal. */
  mix(words) {
    this.#mixBytes(Buffer.from(words));
  }

  #mixBytes(bytes) {
    const length = Math.min(bytes.byteLength, this.#toHash);
    this.#toHash -= length;
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    let [one, two] = this.#hash;
    let at = 0;
    for (; at + 4 <= length; at += 4) {
      const word = view.getInt32(at, true);
      one = Math.imul(one ^ word, 0x01000193);
      one ^= one >>> 15;
      two = Math.imul(two ^ word, 0x85ebca6b);
      two ^= two >>> 13;
    }
    for (; at < length; at += 1) {
      one = Math.imul(one ^ view.getUint8(at), 0x01000193);
      two = Math.imul(two ^ view.getUint8(at), 0x85ebca6b);
    }
    this.#hash = [one, two];
  }

  toJSON() {
    const [one, two] = this.#hash;
    return [
      this.spanId,
      this.started,
      this.ended,
      this.kind,
      printable(this.method),
      this.service,
      this.operation,
      printable(this.host),
      printable(this.path),
      this.status,
      this.error,
      this.sentBytes,
      this.receivedBytes,
      (one >>> 0) * 0x100000 + ((two >>> 0) & 0xfffff),
      this.injected,
    ];
  }
}

function now() {
  return (epoch + clock()) / 1000;
}

/** Take chance from `source`: the function may have made its own of `Math.random` before this was loaded. */
function drawFrom(source) {
  random = source;
  salt = bits();
}

function bits() {
  return Math.floor(random() * 0x1_0000_0000) | 0;
}

function hex(number) {
  return (number >>> 0).toString(16).padStart(8, "0");
}

function nameOf(error) {
  const cause = typeof error?.code === "string" ? error.code : error?.name;
  return printable(typeof cause === "string" ? cause : "Error").slice(0, MAX_ERROR);
}

/** `text` without control characters and halves of characters, which the host would refuse. */
function printable(text) {
  return text.replace(/[^\x20-\x7e\xa0-\ud7ff\ue000-\uffff]/g, "?");
}

/** JSON that may stand in a header. */
function text(calls, more) {
  const body = JSON.stringify({ calls, ...more });
  return body.replace(/[\x7f-\uffff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

module.exports = {
  begin,
  drawFrom,
  HEADERS,
  get current() {
    return current;
  },
};
