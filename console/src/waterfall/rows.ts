// A trace's tree as the rows that are shown, and where on the time axis things lie. Pure.
import type { Trace, TraceNode } from "../api";

export interface Row {
  node: TraceNode;
  key: string;
  depth: number;
  /** Rows below it, whether shown or not. */
  below: number;
  folded: boolean;
  /** For each level above: whether its line goes on below this row. */
  rails: boolean[];
}

export const keyOf = (node: TraceNode) => `${node.span_id}/${node.source}/${node.name}`;

function size(node: TraceNode): number {
  return node.children.reduce((sum, child) => sum + 1 + size(child), 0);
}

export function rowsOf(trace: Trace, folded: ReadonlySet<string>): Row[] {
  const rows: Row[] = [];
  const visit = (node: TraceNode, depth: number, rails: boolean[]) => {
    const key = keyOf(node);
    const shut = folded.has(key);
    rows.push({ node, key, depth, below: size(node), folded: shut, rails });
    if (shut) return;
    node.children.forEach((child, i) => visit(child, depth + 1, [...rails, i < node.children.length - 1]));
  };
  for (const root of trace.roots) visit(root, 0, []);
  return rows;
}

export const isExecution = (node: TraceNode) => node.source === "forerun" && node.kind === "server";

/** Seconds from the trace's start, as far as shown. */
export interface Window {
  from: number;
  to: number;
}

export function zoomed(window: Window, factor: number, at: number, whole: number): Window {
  const length = Math.min(whole, Math.max(whole / 5000, (window.to - window.from) / factor));
  const place = (at - window.from) / (window.to - window.from || 1);
  return shifted({ from: at - place * length, to: at - place * length + length }, 0, whole);
}

export function shifted(window: Window, by: number, whole: number): Window {
  const length = window.to - window.from;
  const from = Math.max(0, Math.min(whole - length, window.from + by));
  return { from, to: from + length };
}

/** Round moments for the axis, in seconds, at most `most` of them. */
export function ticks({ from, to }: Window, most: number): number[] {
  const rough = (to - from) / Math.max(1, most);
  if (!(rough > 0)) return [];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? 10 * power;
  const found: number[] = [];
  for (let i = Math.ceil(from / step - 1e-9) + 0; i * step <= to + step * 1e-9; i++) found.push(i * step + 0);
  return found;
}

/** What was waited for: the latest-ending child again and again, from the end backwards. */
export function criticalPath(trace: Trace): Set<string> {
  const found = new Set<string>();
  const walk = (node: TraceNode) => {
    found.add(keyOf(node));
    let until = node.ended || Infinity;
    const children = [...node.children].sort((a, b) => (b.ended || Infinity) - (a.ended || Infinity));
    for (const child of children) {
      // What goes on after its parent was not waited for; what nobody saw end may have been.
      if (child.ended > until + 1e-4 || child.started >= until) continue;
      walk(child);
      until = child.started;
    }
  };
  const root = [...trace.roots].sort((a, b) => (b.duration_ms ?? 0) - (a.duration_ms ?? 0))[0];
  if (root) walk(root);
  return found;
}
