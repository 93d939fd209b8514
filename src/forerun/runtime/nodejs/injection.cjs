/**
 * Trace information on outgoing calls: which headers one gets, for every HTTP client alike. Pure.
 *
 * The signed part is copied as it was given; nothing here can make one. The rules are those of the Python runtime
 * (`injection.py`).
 */
"use strict";

const XRAY = "x-amzn-trace-id";
const PARENT = "traceparent";
const STATE = "tracestate";
const BAGGAGE = "baggage";
const VENDOR = "forerun=";
const MAX_STATE = 512;
const MAX_MEMBERS = 32;
const MAX_BAGGAGE = 8192;
const MAX_PART = 256;
const ROOT = /^1-([0-9a-f]{8})-?([0-9a-f]{24})$/;
const VISIBLE = /^[\x20-\x7e]*$/;
const NONE = new Set();

/** What a client has to show of the headers that a call has already, by their lower-case names. */
const CONSIDERED = new Set([XRAY, PARENT, STATE, BAGGAGE, "authorization"]);

/** What the calls of one execution carry. What is malformed is not carried. */
class Carrier {
  #root;
  #signed;
  #traceId;
  #own;
  #state;
  #baggage;

  /** `trace` is the execution's `X-Amzn-Trace-Id`; `tracestate` and `baggage` are W3C's headers as they came in. */
  constructor(trace, tracestate, baggage) {
    const parts = Object.fromEntries(trace.split(";").map((part) => halves(part.trim(), "=")));
    this.#root = clean(parts.Root, MAX_PART);
    this.#signed = clean(parts.Forerun, MAX_PART);
    this.#traceId = ROOT.exec(this.#root)?.slice(1).join("") ?? "";
    this.#own = this.#signed && VENDOR + this.#signed;
    this.#state = merge(this.#own, clean(tracestate, MAX_STATE)) || this.#own;
    this.#baggage = clean(baggage, MAX_BAGGAGE);
  }

  /**
   * `{taken, added}`: the lower-case names of headers to take away, then pairs of headers to add.
   *
   * `given` has the call's headers among `CONSIDERED`. A `traceparent` there is that of an instrumented function: then
   * its trace is left alone, and only learns of ours. What a signature covers is never touched.
   */
  edit(spanId, given) {
    const covered = coveredBy(given.authorization);
    const taken = [];
    const added = [];
    if (this.#root && !covered.has(XRAY)) {
      const signed = this.#signed ? `;Forerun=${this.#signed}` : "";
      taken.push(XRAY);
      added.push(["X-Amzn-Trace-Id", `Root=${this.#root};Parent=${spanId};Sampled=1${signed}`]);
    }
    if (given[PARENT] !== undefined) {
      const theirs = given[STATE] ?? "";
      const state = clean(theirs, MAX_STATE) === theirs ? merge(this.#own, theirs) : "";
      if (state && !covered.has(STATE)) {
        taken.push(STATE);
        added.push([STATE, state]);
      }
    } else if (this.#traceId && !covered.has(PARENT) && !covered.has(STATE)) {
      taken.push(STATE);
      added.push([PARENT, `00-${this.#traceId}-${spanId}-01`]);
      if (this.#state) {
        added.push([STATE, this.#state]);
      }
      if (this.#baggage && given[BAGGAGE] === undefined) {
        added.push([BAGGAGE, this.#baggage]);
      }
    }
    return { taken, added };
  }
}

function halves(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

/** `text`, or nothing when it is no value of a header. */
function clean(text, most) {
  return text && text.length <= most && VISIBLE.test(text) ? text : "";
}

/** `tracestate` with `own` first and without what stood there in its name; empty when it would be too long. */
function merge(own, others) {
  const members = others.split(",").map((member) => member.trim());
  const kept = members.filter((member) => member && !member.startsWith(VENDOR));
  const text = [own, ...kept].join(",");
  return own && text.length <= MAX_STATE && kept.length < MAX_MEMBERS ? text : "";
}

/** The headers that an AWS signature covers. */
function coveredBy(authorization) {
  const found = /SignedHeaders=([^,]*)/.exec(authorization ?? "");
  return found ? new Set(found[1].trim().toLowerCase().split(";")) : NONE;
}

module.exports = { CONSIDERED, Carrier };
