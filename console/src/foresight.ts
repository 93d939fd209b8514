// What is foreseen, and whether it came: the answers of `platform/forecast` and `platform/foresight`, and what charts show of them.
import { count, share } from "./format";

export interface Expectation {
  since: number;
  until: number;
  probability: number;
  reason: string;
  count: number;
  cause: string;
}

export interface Score {
  Calls: number;
  Hits: number;
  Misses: number;
  HitShare: number | null;
  Expected: number;
  Came: number;
  LeadS: number | null;
  WastedGbS: number;
}

export interface ForecastRow extends Score {
  FunctionName: string;
  Qualifier: string;
  LastCall: number;
  PeriodS: number;
  Next: Expectation | null;
}

/** `platform/forecast`: the functions that were called last. */
export interface ForecastPage {
  Enabled: boolean;
  Functions: ForecastRow[];
  Total: Score;
}

export interface Held {
  Version: string;
  Idle: number;
  Provisioned: number;
  LeaseS: number;
  Reason: string;
  Cause: string;
  Standing: { idle: number; working: number; preparing: number; failure: string };
}

/** `platform/forecast?FunctionName=`: of one function. */
export interface FunctionForecast {
  Enabled: boolean;
  Now: number;
  Forecast: { windows: Expectation[]; period_s: number; regularity: number } | null;
  Expected: Expectation[];
  Held: Held[];
  Score: Score;
}

export interface Ahead {
  function: string;
  probability: number;
  since: number;
  until: number;
}

/** A running execution; `branches` are its own calls, `ahead` is all that it may lead to. */
export interface Traversal {
  function: string;
  request_id: string;
  execution: string;
  began: number;
  branches: { function: string; probability: number; seen: number | boolean; excluded: boolean }[];
  ahead: Ahead[];
}

/** `platform/foresight`: how it goes altogether. */
export interface Foresight {
  Enabled: boolean;
  Now: number;
  Running: Traversal[];
  Held: (Held & { FunctionName: string; Qualifier: string })[];
  Pools: Record<string, { Floor: number; Base: number; Reason: string }>;
}

export const STEP_S = 60;
const PAST = 60;
const AHEAD = 15;

/** When it is expected, seen from now. */
export function when({ since, until }: { since: number; until: number }, now: number): string {
  const short = (s: number) => (s < 90 ? `${Math.round(s)}\u2009s` : s < 5400 ? `${Math.round(s / 60)}\u2009min` : `${Math.round(s / 3600)}\u2009h`);
  if (since > now + 0.5) return `in ${short(since - now)}`;
  return until > now ? `now, for ${short(until - now)}` : "over";
}

/** Why it is expected, in a few words. */
export function why({ reason, cause }: { reason: string; cause: string }): string {
  switch (reason) {
    case "recent": return "called a moment ago";
    case "period": return !cause ? "called at this time of day" : `called every ${Number(cause) >= 120 ? `${Number((Number(cause) / 60).toFixed(1))}\u2009min` : `${cause}\u2009s`}`;
    case "habit": return "gaps of this length are usual";
    case "leader": return `follows ${cause.split("/").pop()}`;
    case "caller": return "an execution that runs is likely to call it";
    case "provisioned": return "somebody has asked for it";
    default: return reason;
  }
}

export interface Marked {
  foresight?: string;
  timings: { received: number };
}

export interface Picture {
  at: number[];
  calls: (number | null)[];
  hits: (number | null)[];
  misses: (number | null)[];
  expected: (number | null)[];
}

/**
 * Minutes of the past hour with their calls and how many of them were hits and misses, and those to come with the calls that
 * are expected to begin in them at once at most, each counted with its probability.
 */
export function picture(now: number, actual: { at: number[]; calls: number[] }, marked: Marked[], windows: Expectation[]): Picture {
  const present = Math.floor(now / STEP_S) * STEP_S;
  const at = Array.from({ length: PAST + AHEAD }, (_, i) => present + (i + 1 - PAST) * STEP_S);
  const place = (moment: number) => Math.floor((moment - (at[0] as number)) / STEP_S);
  const calls = at.map((minute): number | null => (minute > present ? null : 0));
  actual.at.forEach((minute, i) => {
    const n = place(minute);
    if (calls[n] != null) calls[n] += actual.calls[i] ?? 0;
  });
  const hits = at.map((): number | null => null);
  const misses = at.map((): number | null => null);
  for (const { foresight, timings } of marked) {
    const marks = foresight === "hit" ? hits : foresight === "miss" ? misses : null;
    const n = place(timings.received);
    if (marks && n >= 0 && n < marks.length) marks[n] = (marks[n] ?? 0) + 1;
  }
  const expected = at.map((minute): number | null => (minute < present ? null : 0));
  for (const { since, until, probability, count: calls } of windows)
    for (let n = Math.max(0, place(since)); n <= Math.min(at.length - 1, place(until)); n++)
      if (expected[n] != null) expected[n] = Math.max(expected[n] ?? 0, probability * calls);
  return { at, calls, hits, misses, expected };
}

export const hitShare = (score: Score) => (score.HitShare === null ? "–" : share(score.HitShare));
export const ofWaited = ({ Hits, Misses }: Score) => `${count(Hits)} of ${count(Hits + Misses)}`;
export const waste = (gbS: number) => (gbS < 0.05 ? "0" : gbS < 9.95 ? gbS.toFixed(1) : gbS < 36_000 ? String(Math.round(gbS)) : `${(gbS / 1000).toFixed(0)}k`);
