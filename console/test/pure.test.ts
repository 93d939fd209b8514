import assert from "node:assert/strict";
import { test } from "node:test";
import type { Trace, TraceNode } from "../src/api";
import { ahead, brief, called, depth, local, span, spelled, valued } from "../src/events";
import { channels, heated, state, type HostRow, type Quality } from "../src/fleet";
import { picture, when, why } from "../src/foresight";
import { ago, bytes, count, ms, perHour, rate, share } from "../src/format";
import { excerpt, place } from "../src/parts/layout";
import { criticalPath, keyOf, rowsOf, shifted, ticks, zoomed } from "../src/waterfall/rows";

function node(id: string, started: number, ended: number, children: TraceNode[] = []): TraceNode {
  return {
    span_id: id, parent_id: "", name: id, kind: "server", service: id, source: "forerun", status: "ok", started, ended,
    duration_ms: ended ? (ended - started) * 1000 : null, attributes: {}, skew_ms: 0, orphan: false, caused_by: false, cut: 0, children,
  };
}

function trace(...roots: TraceNode[]): Trace {
  return { trace_id: "0", started: 0, duration_ms: 10_000, status: "ok", spans: 1, executions: 1, functions: [], cut: 0, circles: 0, roots };
}

const spaces = (text: string) => text.replaceAll("\u2009", " ");

test("numbers are short and no more exact than they are known", () => {
  assert.deepEqual(
    [0, 0.2, 4.21, 80.4, 999.6, 8000, 61_000, 130_000, Number.NaN, null].map((value) => spaces(ms(value))),
    ["0 ms", "0.20 ms", "4.2 ms", "80 ms", "1.00 s", "8.00 s", "61.0 s", "2 m 10 s", "–", "–"],
  );
  assert.deepEqual([0, 9999, 12_345, 250_000, 4_200_000].map(count), ["0", "9,999", "12.3k", "250k", "4.2M"]);
  assert.deepEqual([0, 1e-6, 0.034, 0.5, 1].map(share), ["0%", "<0.1%", "3.4%", "50%", "100%"]);
  assert.deepEqual([rate(0, 60), rate(3, 60), rate(90, 60), rate(60_000, 60)], ["0", "3/min", "1.5/s", "1,000/s"]);
  assert.deepEqual([5, 600, 36_000].map(perHour), ["5/h", "10/min", "10/s"]);
  assert.deepEqual([12, 1500, 2_000_000].map((n) => spaces(bytes(n))), ["12 B", "1.5 kB", "2.0 MB"]);
  assert.deepEqual([100, 70, -500, -9000, -200_000].map((at) => spaces(ago(at, 100))), ["now", "30 s", "10 min", "3 h", "2 d"]);
});

test("rows follow the tree, and what is folded hides what is below it", () => {
  const b = node("b", 1, 4, [node("c", 2, 3)]);
  const whole = trace(node("a", 0, 10, [b, node("d", 5, 9)]));
  assert.deepEqual(rowsOf(whole, new Set()).map((row) => [row.node.name, row.depth, row.below]), [["a", 0, 3], ["b", 1, 1], ["c", 2, 0], ["d", 1, 0]]);
  assert.deepEqual(rowsOf(whole, new Set([keyOf(b)])).map((row) => row.node.name), ["a", "b", "d"]);
});

test("what was waited for is the chain of those that ended last", () => {
  const whole = trace(node("a", 0, 10, [node("early", 1, 3), node("during", 2, 8), node("late", 8, 9.5, [node("inner", 8.2, 9.4)]), node("aside", 4, 9)]));
  assert.deepEqual([...criticalPath(whole)].map((key) => key.split("/")[0]).sort(), ["a", "during", "inner", "late"]);
});

test("an execution that nobody saw end is waited for", () => {
  assert.ok(criticalPath(trace(node("a", 0, 10, [node("open", 5, 0)]))).has(keyOf(node("open", 5, 0))));
});

test("zooming keeps the point under the pointer, and the whole is the most there is", () => {
  const near = zoomed({ from: 0, to: 10 }, 2, 8, 10);
  assert.deepEqual(near, { from: 4, to: 9 });
  assert.deepEqual(zoomed(near, 0.1, 5, 10), { from: 0, to: 10 });
  const tiny = zoomed({ from: 0, to: 10 }, 1e9, 5, 10);
  assert.ok(tiny.to - tiny.from >= 10 / 5000 - 1e-12);
  assert.deepEqual(shifted({ from: 4, to: 6 }, 100, 10), { from: 8, to: 10 });
  assert.deepEqual(shifted({ from: 4, to: 6 }, -100, 10), { from: 0, to: 2 });
});

test("the axis has round moments, and not too many", () => {
  assert.deepEqual(ticks({ from: 0, to: 10 }, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks({ from: 3, to: 3 }, 5), []);
  for (const to of [1e-6, 0.0137, 1, 77, 1e5]) assert.ok(ticks({ from: 0, to }, 8).length <= 9);
});

test("of a large map the busiest is drawn, or what fits with its neighbours", () => {
  const nodes = Array.from({ length: 1000 }, (_, i) => ({ id: `f${i}`, kind: "function" as const, name: `f${i}`, per_hour: i }));
  const edges = Array.from({ length: 999 }, (_, i) => ({ from: `f${i}`, to: `f${i + 1}`, likelihood: 1, per_hour: i }));
  const map = { nodes, edges, cycles: [["f998", "f999"], ["f1", "f2"]] };
  assert.equal(excerpt(map, "", 1000), map);
  const busy = excerpt(map, "", 100);
  assert.deepEqual([busy.nodes.length, busy.nodes.at(-1)?.name, busy.nodes[0]?.name, busy.cycles.length, busy.cut], [100, "f999", "f900", 1, true]);
  const found = excerpt(map, "F500", 100);
  assert.deepEqual(found.nodes.map((node) => node.name), ["f499", "f500", "f501"]);
  assert.equal(found.edges.length, 2);
});

test("a graph with a cycle, a loop and an edge to nowhere is laid out", () => {
  const nodes = ["a", "b", "c"].map((name) => ({ id: name, kind: "function" as const, name }));
  const edge = (from: string, to: string) => ({ from, to, likelihood: 1 });
  const plan = place({ nodes, edges: [edge("a", "b"), edge("b", "a"), edge("c", "c"), edge("a", "gone")], cycles: [] }, () => "");
  assert.equal(plan.nodes.length, 3);
  assert.equal(plan.edges.length, 3);
  for (const { x, y } of plan.nodes) assert.ok(Number.isFinite(x) && Number.isFinite(y));
  for (const { path } of plan.edges) assert.ok(!path.includes("NaN"));
  assert.deepEqual(place({ nodes: [], edges: [], cycles: [] }, () => "").nodes, []);
});

test("a forecast says when and why", () => {
  const now = 1000;
  const at = (since: number, until: number) => spaces(when({ since, until }, now));
  assert.deepEqual([at(1010, 1012), at(1300, 1301), at(8200, 9000), at(990, 1004), at(900, 1000)], ["in 10 s", "in 5 min", "in 2 h", "now, for 4 s", "over"]);
  const because = (reason: string, cause = "") => spaces(why({ reason, cause }));
  assert.deepEqual([because("period", "3"), because("period", "900"), because("period"), because("leader", "123/first"), because("new")],
    ["called every 3 s", "called every 15 min", "called at this time of day", "follows first", "new"]);
});

test("the picture of a forecast has the past with its marks and what is to come", () => {
  const now = 36_030;
  const record = (received: number, foresight: string) => ({ foresight, timings: { received } });
  const window = (since: number, until: number, probability: number, count: number) => ({ since, until, probability, count, reason: "habit", cause: "" });
  const shown = picture(now, { at: [35_940, 36_000, 30_000], calls: [5, 2, 9] },
    [record(35_941, "hit"), record(35_999, "hit"), record(36_001, "miss"), record(36_002, ""), record(1, "hit")],
    [window(36_055, 36_070, 0.5, 4), window(36_010, 36_020, 0.25, 1), window(1, 2, 1, 9), window(36_000, 1e9, 0.125, 1)]);
  const last = shown.at.indexOf(36_000);
  assert.equal(shown.at.length, 75);
  assert.deepEqual([shown.calls[last - 1], shown.calls[last], shown.calls[last + 1]], [5, 2, null]);
  assert.equal(shown.calls.reduce((sum: number, n) => sum + (n ?? 0), 0), 7);
  assert.deepEqual([shown.hits[last - 1], shown.hits[last], shown.misses[last - 1], shown.misses[last]], [2, null, null, 1]);
  assert.deepEqual([shown.expected[last - 1], ...shown.expected.slice(last, last + 3)], [null, 2, 2, 0.125]);
});

test("targets are told by what they are and their name", () => {
  const arn = (service: string, rest: string) => called(`arn:aws:${service}:eu-home-1:100000000000:${rest}`);
  assert.deepEqual(arn("lambda", "function:pay"), { kind: "function", name: "pay", function: "pay" });
  assert.deepEqual(arn("lambda", "function:pay:live"), { kind: "function", name: "pay:live", function: "pay" });
  assert.deepEqual(arn("sqs", "orders.fifo"), { kind: "queue", name: "orders.fifo" });
  assert.deepEqual(arn("events", "event-bus/default"), { kind: "bus", name: "default" });
  assert.deepEqual(arn("events", "rule/shop/paid"), { kind: "rule", name: "shop/paid" });
  assert.deepEqual(arn("scheduler", "schedule/default/nightly"), { kind: "schedule", name: "nightly" });
  assert.deepEqual(arn("forerun", "folder/inbox"), { kind: "folder", name: "inbox" });
  assert.deepEqual(called("arn:aws:s3:::photos"), { kind: "bucket", name: "photos" });
  assert.deepEqual(called("https://example.com/a"), { kind: "URL", name: "https://example.com/a" });
  assert.deepEqual(called(""), { kind: "", name: "" });
});

test("lengths of time have two units at most", () => {
  assert.deepEqual([0, 0.25, 9, 59.9, 60, 3725, 86_399, 90_000, -3].map((s) => spaces(span(s))), ["0 s", "0.3 s", "9 s", "59 s", "1 min", "1 h 2 min", "23 h 59 min", "1 d 1 h", "0 s"]);
  assert.deepEqual([99, 100.2, 160].map((at) => spaces(ahead(at, 100))), ["now", "now", "in 1 min"]);
});

test("moments are told in the time zone that is asked for, over changes of the clock", () => {
  const spring = Date.UTC(2026, 2, 29, 0, 30) / 1000;
  assert.deepEqual([0, 3600].map((s) => local(spring + s, "Europe/Berlin")), ["Sun 2026-03-29 01:30:00", "Sun 2026-03-29 03:30:00"]);
  assert.equal(local(spring, "Asia/Tokyo"), "Sun 2026-03-29 09:30:00");
  assert.equal(local(Date.UTC(2026, 0, 1) / 1000, "UTC"), "Thu 2026-01-01 00:00:00");
});

test("parts of criteria stand below what they are parts of", () => {
  assert.deepEqual(["When", "When.all[0]", "When.all[12].not", "When.not.any[1].count"].map(depth), [0, 1, 2, 2]);
  assert.equal(spaces(valued("no (execution.started of backup) within 1 d", 3725)), "for 1 h 2 min");
  assert.deepEqual([valued("count of (x)", 12_345), valued("rate of (x)", 0.016667), valued("x", null), valued("x", "why")], ["12,345", "0.01667", "", "why"]);
});

test("errors are told in a line, and as their runtime prints them", () => {
  const error = JSON.stringify({ errorType: "ValueError", errorMessage: "no stock", stackTrace: ["  File a\n    b\n", "  File c\n"] });
  assert.equal(brief(error), "ValueError: no stock");
  assert.equal(spelled(error), "ValueError: no stock\n  File a\n    b\n  File c");
  assert.equal(brief("two\n  lines"), "two lines");
  assert.equal(spelled("{\"a\":1}"), '{\n  "a": 1\n}');
  assert.deepEqual([brief("null"), brief("[1]"), spelled("null")], ["null", "[1]", "null"]);
});

const host = (Name: string, Channels: Record<string, Quality>, more: Partial<HostRow> = {}): HostRow => ({
  Name, Address: "", Zone: "", Labels: {}, Phase: "active", Alive: true, Version: "", Cpus: 1, MemoryMb: 1, BookedMb: 0, DiskFreeMb: null, Sandboxes: 0, Running: 0, Pools: {}, Channels, BeatAgeS: 0, Failure: "", ...more,
});

test("paths are compared with the best one to the same service, and one that fails is never the best", () => {
  const path = (latency: number, failures = 0): Quality => [latency, failures, 0, 0, 9, 1];
  const shown = channels([host("a", { "db:1": path(0.1, 0.5) }), host("b", { "db:1": path(4), "x:1": path(90) }), host("c", { "db:1": path(10) }), host("d", {})]);
  assert.deepEqual(shown.map(({ service }) => service), ["db:1", "x:1"]);
  assert.deepEqual(Object.entries(shown[0]?.paths ?? {}).map(([name, { mood }]) => [name, mood]), [["a", "bad"], ["b", "good"], ["c", "warn"]]);
  assert.equal(shown[1]?.paths.b?.mood, "good");
});

test("a host says first what matters most of it", () => {
  assert.deepEqual([{}, { Phase: "cordoned" }, { Alive: false }, { Alive: false, Phase: "draining" }].map((more) => state(host("a", {}, more))[0]), ["active", "cordoned", "gone", "left"]);
});

test("of many hosts those where something ran are shown, the busiest first", () => {
  const many = Array.from({ length: 40 }, (_, n) => `h${n}`);
  const rows = [{ FunctionName: "f", Calls: 9, Hosts: { h7: 1, old: 8 } }, { FunctionName: "g", Calls: 5, Hosts: { h7: 2, h3: 3 } }];
  assert.deepEqual(heated(rows, many), { named: ["old", "h3", "h7"], idle: 38 });
  assert.deepEqual(heated(rows, ["h3", "h4"]), { named: ["h3", "h4", "h7", "old"], idle: 0 });
});
