// What the server answers: the contract between these pages and `forerun.console` and the routes under /forerun.
// Times of day are epoch seconds, durations milliseconds, shares between 0 and 1.

export interface Me {
  account: string;
  principal: string;
  region: string;
  host: string;
  version: string;
  expires_at: number;
  monitoring: boolean;
}

export const STARTS = ["warm", "prewarmed", "preloaded", "pool", "zygote", "cold"] as const;
export type Start = (typeof STARTS)[number];

export interface FunctionRow {
  name: string;
  runtime: string;
  memory_mb: number;
  timeout_s: number;
  modified: number;
  description: string;
  monitoring: string;
}

/** The calls of one function within the last minute; durations of the calls that ran. */
export interface PulseRow {
  calls: number;
  errors: number;
  throttles: number;
  p50: number;
  p95: number;
  starts: Partial<Record<Start, number>>;
}

export interface Pulse {
  at: number;
  functions: Record<string, PulseRow>;
}

/** `platform/activity`: calls and errors per minute of the last hour; functions without a call are left out. */
export interface Sparks {
  since: number;
  until: number;
  step_s: number;
  functions: Record<string, { calls: number[]; errors: number[] }>;
}

export interface VersionRow {
  version: string;
  modified: number;
  description: string;
  runtime: string;
  memory_mb: number;
  code_size: number;
  code_sha256: string;
  snap_start: boolean;
  aliases: string[];
}

export interface FunctionPage extends FunctionRow {
  arn: string;
  handler: string;
  role: string;
  code_size: number;
  state: string;
  last_update_status: string;
  ephemeral_mb: number;
  snap_start: boolean;
  egress: string;
  log_group: string;
  reserved: number | null;
  environment: string[];
  layers: string[];
  tags: Record<string, string>;
  versions: VersionRow[];
}

/** `series?name=&seconds=`: what a function did; one value per step, null where nothing ran. */
export interface Series {
  step_s: number;
  at: number[];
  calls: number[];
  errors: number[];
  throttles: number[];
  p50: (number | null)[];
  p95: (number | null)[];
  p99: (number | null)[];
  concurrency: number[];
  starts: Partial<Record<Start, number>>;
}

/** `platform/monitoring?FunctionName=`: the choice for a function, why, and how often it is called. */
export interface Monitoring {
  Enabled: boolean;
  Tag: string;
  /** One in so many executions is watched; 0 for none. */
  OneIn: number;
  Reason: string;
  CallsPerSecond: number;
  CallsPerHour: number;
  Executions: number;
  Monitored: number;
}

export interface Quantiles {
  count: number;
  mean: number;
  min: number;
  p50: number;
  p90: number;
  p95: number;
  p99: number;
  max: number;
}

export interface Likelihood {
  value: number;
  low: number;
  high: number;
}

export interface Callee {
  kind: "function" | "service";
  name: string;
  via: string;
  executions: number;
  sampled: number;
  likelihood: Likelihood;
  calls: number;
  calls_per_execution: Quantiles;
  position: number;
  delay_ms: Quantiles;
  latency_ms: Quantiles;
  errors: Record<string, number>;
  error_rate: Likelihood;
  throttles: number;
  retries: number;
  asynchronous: number;
  unfinished: number;
  operations: Record<string, number>;
  critical_share: number;
}

/** `perhaps/profile?FunctionName=&Qualifier=`; null as long as nothing was watched. */
export interface ProfilePage {
  Profile: Profile;
}

export interface Profile {
  function: string;
  version: string;
  since: number;
  until: number;
  sampled: number;
  executions: number;
  invocations: number;
  per_hour: number;
  start_types: Record<string, number>;
  errors: Record<string, number>;
  error_rate: Likelihood;
  init_ms: Quantiles;
  duration_ms: Quantiles;
  cpu_share: number;
  memory: { configured_mb: number; used_mb: Quantiles };
  waiting_ms: Quantiles;
  waiting_share: number;
  critical_path: { who: string; ms: number; share: number }[];
  callees: Callee[];
}

/** A place in a graph of functions and services; `id` is `function:NAME` or `service:NAME`. */
export interface MapNode {
  id: string;
  kind: "function" | "service";
  name: string;
  /** How likely it is reached from the graph's root; 1 for the root, 0 in the map of an account. */
  likelihood?: number;
  per_hour?: number;
  p50?: number;
  p95?: number;
  error_rate?: number;
}

export interface MapEdge {
  from: string;
  to: string;
  /** Share of the caller's executions that make the call. */
  likelihood: number;
  per_hour?: number;
  p50?: number;
  p95?: number;
  error_rate?: number;
  /** Where a service passes calls on: whose. */
  callers?: string[];
}

/** `platform/map`, and what can be reached from a function: `perhaps/reach?FunctionName=&Qualifier=`. */
export interface ServiceMap {
  nodes: MapNode[];
  edges: MapEdge[];
  /** Cycles, each as the ids of its nodes in order. */
  cycles: string[][];
  cut?: boolean;
}

export interface Measure {
  what: string;
  value: number;
  unit?: string;
  low?: number;
  high?: number;
}

/** `perhaps/findings?FunctionName=`. */
export interface FindingPage {
  Findings: Finding[];
  Watched: number;
  AtLeast: number;
}

export interface Finding {
  kind: string;
  function: string;
  version: string;
  title: string;
  advice: string;
  /** `measured`, `likely`, or a `candidate` that depends on its condition. */
  confidence: string;
  evidence: Measure[];
  gain: { amount: number; unit: string; per: string; share: number; how: string };
  sampled: number;
  since: number;
  until: number;
  condition: string;
  callees: string[];
}

/** `perhaps/compare?FunctionName=&From=&To=`. */
export interface Comparison {
  From: { sampled: number };
  To: { sampled: number };
  Changes: { what: string; words: string; who: string }[];
}

export interface Timings {
  received: number;
  admitted: number;
  dequeued: number;
  acquired: number;
  loaded: number;
  started: number;
  ended: number;
  answered: number;
}

export interface Invocation {
  request_id: string;
  name: string;
  version: string;
  qualifier: string | null;
  invocation_type: string;
  attempt: number;
  status: string;
  error_type: string | null;
  start_type: Start | null;
  sandbox: string | null;
  placement: string | null;
  duration_ms: number;
  init_ms: number | null;
  memory_mb: number;
  max_memory_mb: number;
  request_bytes: number;
  response_bytes: number;
  trace_id: string;
  timings: Timings;
  /** `hit`, `miss` or empty. */
  foresight?: string;
}

/** `platform/invocations?FunctionName=`; `NextMarker` continues the list. */
export interface InvocationPage {
  Invocations: Invocation[];
  NextMarker?: string;
}

export interface LogEvent {
  at: number;
  text: string;
  name: string;
  request_id?: string;
}

export interface LogPage {
  events: LogEvent[];
  next: string | null;
}

export type Status = "ok" | "error" | "fault" | "throttle";

export interface TraceRow {
  trace_id: string;
  root: string;
  functions: string[];
  started: number;
  duration_s: number;
  status: Status;
  errors: number;
  executions: number;
  segments: number;
  spans: number;
}

/** `platform/traces?...`; `NextMarker` continues the list. */
export interface TracePage {
  Traces: TraceRow[];
  NextMarker?: string;
}

export interface TraceNode {
  span_id: string;
  parent_id: string;
  name: string;
  kind: string;
  service: string;
  source: string;
  status: Status;
  started: number;
  /** 0 when the end is not known; then `duration_ms` is null. */
  ended: number;
  duration_ms: number | null;
  attributes: Record<string, string | number | boolean>;
  skew_ms: number;
  orphan: boolean;
  caused_by: boolean;
  cut: number;
  children: TraceNode[];
}

/** `platform/trace?TraceId=`. */
export interface Trace {
  trace_id: string;
  started: number;
  duration_ms: number;
  status: Status;
  spans: number;
  executions: number;
  functions: string[];
  cut: number;
  circles: number;
  roots: TraceNode[];
}

export interface SandboxRow {
  id: string;
  state: string;
  name: string | null;
  version: string | null;
  runtime: string;
  isolation: string;
  booked_mb: number;
  used_mb: number;
  calls: number;
  idle_s: number;
}

export interface HostStatus {
  host: string;
  isolation: string;
  memory_mb: number;
  booked_mb: number;
  sandboxes: Record<string, number>;
  pool: Record<string, number>;
  pool_target: Record<string, number>;
  waiting: number;
  starts: Record<string, number>;
  destroyed: number;
  failed: number;
  /** Events that wait for a quiet moment, and what holds them. */
  deferrable?: { waiting: number; running: number; held_by: string };
  runtimes: string[];
}

/** What the live tail brings. */
export type TailEvent =
  | ({ what: "call" } & Pick<
      Invocation,
      "request_id" | "name" | "version" | "status" | "error_type" | "start_type" | "duration_ms" | "trace_id"
    > & { at: number })
  | ({ what: "log" } & LogEvent)
  | { what: "note"; at: number; text: string };
