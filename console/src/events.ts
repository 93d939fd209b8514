// What starts functions: the answers of `platform/sources`, `schedules`, `metaevents` and `dead-letters`, and how they are told.
import { useEffect, useState } from "react";
import { ask, Refusal } from "./client";

/** A line of `platform/sources`; what a source has not is left out. */
export interface SourceRow {
  Source: string;
  Kind: string;
  Id: string;
  Target?: string;
  State?: string;
  Reason?: string;
  Waiting?: number;
  Hidden?: number;
  Delayed?: number;
  OldestSeconds?: number;
  InFlight?: number;
  Running?: number;
  AtOnce?: number;
  PerSecond?: number;
  FailuresPerMinute?: number;
  LastResult?: string;
  LastSent?: number | null;
  Sent?: number;
  Received?: number;
  Deleted?: number;
  Expired?: number;
  GivenUp?: number;
  Clients?: number;
  DeadLetters?: string;
  Pattern?: string;
  Events?: string[];
  Path?: string;
}

/** `platform/delivery`; `Paused` has the seconds until a target is tried again. */
export interface Delivery {
  Waiting: number;
  Paused: Record<string, number>;
  DeadLetters: number;
  StoppedLoops: number;
}

export interface ScheduleRow {
  Kind: string;
  Name: string;
  Group: string;
  Arn: string;
  State: string;
  Expression: string;
  Timezone: string;
  WindowMinutes: number;
  Targets: string[];
  Next: number[];
  Late: boolean;
  Last: { Moment: number | null; At: number | null; Outcome: string | null; RequestId?: string; Status?: string | null } | null;
}

export interface MetaeventRow {
  Name: string;
  Job: string;
  Description: string;
  Enabled: boolean;
  Held: boolean;
  Fired: number;
  Refused: number;
  FiredAt: number;
  NextMoment: number | null;
  Created: number;
  Modified: number;
}

export interface CriteriaPart {
  Path: string;
  Says: string;
  Held: boolean;
  Value: number | string | null;
}

export interface Evaluation {
  At: number;
  Until: number;
  Times: number;
  /** Empty where time alone passed. */
  Event: string;
  Held: boolean;
  Parts: { Held: boolean; Value: number | string | null }[];
  Job: string;
  Refused: string;
}

export interface Metaevent extends MetaeventRow {
  When: unknown;
  Input: unknown;
  InputTransformer: unknown;
  /** Seconds, 0 for none. */
  Cooldown: number;
  Since: number;
  Parts: CriteriaPart[];
  Why: string[];
  LastEvent: { event: string; function: string; requestId: string; at: number; status: string | null } | null;
  Jobs: { Id: string; RequestId: string; At: number; Chain: string[] }[];
  Evaluations: Evaluation[];
}

export interface Letter {
  Id: string;
  Shelf: string;
  Source: string;
  Target: string;
  Reason: string;
  Detail: string;
  Attempts: number;
  FailedAt: number;
  OccurredAt: number;
  Bytes: number;
}

export interface WholeLetter extends Letter {
  Payload?: string;
  PayloadBase64?: string;
  TraceId: string;
  Attributes: Record<string, string>;
}

/** What redriving or deleting has done. */
export interface Done {
  Redriven?: number;
  Deleted?: number;
  Skipped: { Id: string; Shelf: string; Reason: string }[];
  More: boolean;
}

export const places = {
  sources: "/events",
  schedules: "/events/schedules",
  metaevents: "/events/metaevents",
  metaevent: (name: string) => `/events/metaevents/${encodeURIComponent(name)}`,
  letters: "/events/dead-letters",
};

const SERVICES: Record<string, string> = {
  lambda: "function", sqs: "queue", sns: "topic", events: "bus", s3: "bucket", scheduler: "schedule",
};

export interface Called {
  kind: string;
  name: string;
  /** Of a function, without its qualifier. */
  function?: string;
}

/** What an ARN or URL is, in two words. */
export function called(target: string): Called {
  const parts = target.split(":");
  if (parts[0] !== "arn" || parts.length < 6) return { kind: /^https?:/.test(target) ? "URL" : "", name: target };
  const service = parts[2] ?? "";
  const resource = parts.slice(5).join(":");
  if (service === "lambda") {
    const [name = "", qualifier] = resource.replace(/^function:/, "").split(":");
    return { kind: "function", name: qualifier ? `${name}:${qualifier}` : name, function: name };
  }
  const [first = "", ...rest] = resource.split("/");
  if (service === "forerun") return { kind: first, name: rest.join("/") };
  if (service === "events" || service === "scheduler")
    return { kind: first === "event-bus" ? "bus" : first, name: rest.join("/").replace(/^default\//, "") };
  return { kind: SERVICES[service] ?? service, name: resource };
}

/** Seconds in one or two units. */
export function span(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1).replace(/\.0$/, "")}\u2009s`;
  if (s < 60) return `${Math.floor(s)}\u2009s`;
  const units: [string, number][] = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => s >= size);
  return units.slice(first, first + 2)
    .map(([unit, size], i) => [Math.floor((i ? s % (units[first]?.[1] ?? 1) : s) / size), unit] as const)
    .filter(([n]) => n > 0).map(([n, unit]) => `${n}\u2009${unit}`).join(" ");
}

export const ahead = (at: number, now: number) => (at - now > 0.5 ? `in ${span(at - now)}` : "now");

/** Weekday, date and time in a time zone, the reader's own if none is given. */
export function local(at: number, zone?: string): string {
  const parts = new Intl.DateTimeFormat("en-GB", {
    weekday: "short", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23", ...(zone ? { timeZone: zone } : {}),
  }).formatToParts(at * 1000);
  const of = (type: string) => parts.find((part) => part.type === type)?.value ?? "";
  return `${of("weekday")} ${of("year")}-${of("month")}-${of("day")} ${of("hour")}:${of("minute")}:${of("second")}`;
}

export const ownZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** How deep a part of criteria stands: `When.all[0].not` is two below the whole. */
export const depth = (path: string) => (path.match(/\.(all|any)\[\d+\]|\.not(?![a-z])/g) ?? []).length;

/** The value that was found of a part, as far as it says more than whether the part holds. */
export function valued(says: string, value: number | string | null): string {
  if (value === null) return "";
  if (typeof value === "string") return value;
  if (/^no \(/.test(says)) return `for ${span(value)}`;
  return value % 1 ? value.toPrecision(4).replace(/\.?0+$/, "") : value.toLocaleString("en-US");
}

/** The error of a function in a few words, or the first words of a sentence. */
export function brief(detail: string): string {
  try {
    const error = JSON.parse(detail) as { errorType?: string; errorMessage?: string } | null;
    if (error && typeof error === "object" && error.errorMessage !== undefined) return `${error.errorType ?? "Error"}: ${error.errorMessage}`;
  } catch {
    // It is a sentence.
  }
  return detail.replace(/\s+/g, " ");
}

/** A function's error as its runtime would print it; other JSON as people read it. */
export function spelled(detail: string): string {
  try {
    const error = JSON.parse(detail) as { stackTrace?: unknown; trace?: unknown } | null;
    const lines = error?.stackTrace ?? error?.trace;
    if (Array.isArray(lines) && lines.length) return `${brief(detail)}\n${lines.map((line) => String(line).trimEnd()).join("\n")}`;
  } catch {
    // It is a sentence.
  }
  return pretty(detail);
}

/** JSON as people read it; other texts as they are. */
export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export interface Pages<T> {
  items: T[] | undefined;
  /** There are more than were asked for. */
  more: boolean;
  error: Error | undefined;
  again: () => void;
}

/** All pages of a list up to `most` lines, asked again every `everyS` seconds while the page is seen. */
export function usePages<T>(path: string, member: string, most: number, everyS: number): Pages<T> {
  const [state, set] = useState<{ path: string; items?: T[]; more?: boolean; error?: Error }>({ path });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let ended = false;
    let timer = 0;
    const load = async () => {
      if (!document.hidden || turn === 0) {
        try {
          const items: T[] = [];
          let marker: string | null | undefined;
          do {
            const sign = path.includes("?") ? "&" : "?";
            const page: Record<string, unknown> = await ask(marker ? `${path}${sign}Marker=${encodeURIComponent(marker)}` : path);
            items.push(...(page[member] as T[]));
            marker = page.NextMarker as string | null | undefined;
          } while (marker && items.length < most && !ended);
          if (!ended) set({ path, items, more: Boolean(marker) });
        } catch (error) {
          if (!ended) set((old) => ({ ...(old.path === path ? old : { path }), error: error as Error }));
        }
      }
      if (!ended && everyS) timer = window.setTimeout(load, everyS * 1000);
    };
    void load();
    return () => {
      ended = true;
      window.clearTimeout(timer);
    };
  }, [path, member, most, everyS, turn]);
  const own = state.path === path ? state : undefined;
  return { items: own?.items, more: own?.more ?? false, error: own?.error, again: () => setTurn((n) => n + 1) };
}

/** Epoch seconds that go on while somebody looks. */
export function useNow(everyS = 1): number {
  const [now, set] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = window.setInterval(() => !document.hidden && set(Date.now() / 1000), everyS * 1000);
    return () => window.clearInterval(timer);
  }, [everyS]);
  return now;
}

/** What this visitor may not ask for is left out, not shown as trouble. */
export const refused = (error: Error | undefined) => error instanceof Refusal && error.status === 403;
