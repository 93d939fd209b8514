// Functions and services with the calls between them; it can be moved, zoomed, and walked through with the keyboard.
import { useEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from "react";
import type { MapEdge, MapNode, ServiceMap } from "../api";
import { ms, perHour, share } from "../format";
import { go, paths } from "../route";
import { LONGEST_NAME, place } from "./layout";
import "../style/chart.css";

interface Props {
  map: ServiceMap;
  label: string;
  height: number | string;
  root?: string;
  /** Only what has this in its name, and its neighbours, stay bright. */
  filter?: string;
}

interface View {
  x: number;
  y: number;
  k: number;
}

// Smaller, names cannot be read; the rest is a drag away.
const READABLE = 0.55;
const short = (text: string, length: number) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
const failing = (rate: number | undefined) => (rate ?? 0) >= 0.05;

function said(node: MapNode): string {
  const parts = [];
  if (node.likelihood && node.likelihood < 0.9995) parts.push(share(node.likelihood));
  if (node.per_hour) parts.push(perHour(node.per_hour));
  if (node.p50) parts.push(ms(node.p50));
  if (node.error_rate && node.error_rate >= 0.001) parts.push(`${share(node.error_rate)} failed`);
  return parts.join(" · ") || (node.kind === "service" ? "service" : "");
}

function told(edge: MapEdge): string {
  const parts = [`${edge.from.replace(/^\w+:/, "")} → ${edge.to.replace(/^\w+:/, "")}`, `in ${share(edge.likelihood)} of executions`];
  if (edge.callers?.length) parts.push(`passed on for ${edge.callers.map((each) => each.replace(/^\w+:/, "")).join(", ")}`);
  if (edge.p50) parts.push(`p50 ${ms(edge.p50)}${edge.p95 ? `, p95 ${ms(edge.p95)}` : ""}`);
  if (edge.error_rate) parts.push(`${share(edge.error_rate)} failed`);
  return parts.join("\n");
}

export default function Graph({ map, label, height, root, filter }: Props) {
  const plan = useMemo(() => place(map, said), [map]);
  const svg = useRef<SVGSVGElement>(null);
  const [view, setView] = useState<View>({ x: 0, y: 0, k: 1 });
  const [near, setNear] = useState<string | null>(null);
  const drag = useRef<{ x: number; y: number; view: View } | null>(null);

  const fit = (least = 0) => {
    const box = svg.current?.getBoundingClientRect();
    if (!box || !box.width) return;
    const k = Math.max(least, Math.min(1.1, box.width / plan.width, box.height / plan.height));
    // Centred; what has no room begins at its own beginning.
    setView({ k, x: Math.max(0, (box.width - plan.width * k) / 2), y: Math.max(0, (box.height - plan.height * k) / 2) });
  };
  useEffect(() => fit(READABLE), [plan]);

  const zoom = (factor: number, at?: { x: number; y: number }) => {
    const box = svg.current?.getBoundingClientRect();
    const { x, y } = at ?? { x: (box?.width ?? 0) / 2, y: (box?.height ?? 0) / 2 };
    setView((old) => {
      const k = Math.min(4, Math.max(0.05, old.k * factor));
      const f = k / old.k;
      return { k, x: x - (x - old.x) * f, y: y - (y - old.y) * f };
    });
  };
  // React's wheel listeners are passive. Where the page itself can scroll, the wheel zooms only with Ctrl.
  useEffect(() => {
    const element = svg.current;
    const wheel = (event: globalThis.WheelEvent) => {
      const scrolls = document.documentElement.scrollHeight > window.innerHeight + 4;
      if (scrolls && !event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const box = element?.getBoundingClientRect();
      zoom(Math.exp(-event.deltaY * 0.0016), { x: event.clientX - (box?.left ?? 0), y: event.clientY - (box?.top ?? 0) });
    };
    element?.addEventListener("wheel", wheel, { passive: false });
    return () => element?.removeEventListener("wheel", wheel);
  }, []);

  const bright = useMemo(() => {
    const words = filter?.trim().toLowerCase();
    const seeds = near ? [near] : words ? map.nodes.filter((node) => node.name.toLowerCase().includes(words)).map((node) => node.id) : null;
    if (!seeds) return null;
    const found = new Set(seeds);
    for (const edge of map.edges) {
      if (seeds.includes(edge.from)) found.add(edge.to);
      if (seeds.includes(edge.to)) found.add(edge.from);
    }
    return { found, seeds: new Set(seeds) };
  }, [near, filter, map]);

  const turning = useMemo(() => new Set(map.cycles.flatMap((ids) => ids.map((id, i) => `${id}>${ids[(i + 1) % ids.length] ?? id}`))), [map]);
  const most = Math.max(1, ...map.edges.map((edge) => edge.per_hour ?? 0));
  const open = (node: MapNode) => node.kind === "function" && node.id !== root && go(paths.function(node.name));

  const key = (event: KeyboardEvent) => {
    const step: Record<string, [number, number]> = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    const by = step[event.key];
    if (by) setView((old) => ({ ...old, x: old.x + by[0], y: old.y + by[1] }));
    else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
  };
  const down = (event: PointerEvent) => {
    if ((event.target as Element).closest(".node.function")) return;
    drag.current = { x: event.clientX, y: event.clientY, view };
    svg.current?.setPointerCapture(event.pointerId);
  };
  const dragged = (event: PointerEvent) => {
    const from = drag.current;
    if (from) setView({ ...from.view, x: from.view.x + event.clientX - from.x, y: from.view.y + event.clientY - from.y });
  };

  return (
    <div className="graph" style={{ height }}>
      <svg ref={svg} className="plan" role="group" aria-label={label} tabIndex={0} onKeyDown={key} onPointerDown={down} onPointerMove={dragged}
        onPointerUp={() => (drag.current = null)} onPointerLeave={() => (drag.current = null)}>
        <defs>
          {["bar", "bad", "warn"].map((color) => (
            <marker key={color} id={`tip-${color}`} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">
              <path d="M0 0.6L7.4 4L0 7.4z" fill={`var(--${color})`} />
            </marker>
          ))}
        </defs>
        <g transform={`translate(${view.x.toFixed(1)} ${view.y.toFixed(1)}) scale(${view.k.toFixed(4)})`}>
          {plan.edges.map(({ edge, path, label: at }, i) => {
            const cycle = turning.has(`${edge.from}>${edge.to}`);
            const bad = failing(edge.error_rate);
            const dim = bright && !(bright.seeds.has(edge.from) || bright.seeds.has(edge.to));
            const width = edge.per_hour ? 1 + 3 * Math.sqrt(edge.per_hour / most) : 1 + 2 * edge.likelihood;
            return (
              <g key={i} className={`edge${bad ? " bad" : cycle ? " cycle" : ""}${dim ? " dim" : ""}`}>
                <title>{told(edge)}</title>
                <path d={path} strokeWidth={width} opacity={0.35 + 0.6 * edge.likelihood} markerEnd={`url(#tip-${bad ? "bad" : cycle ? "warn" : "bar"})`} />
                <text x={at.x} y={at.y + 4}>{share(edge.likelihood)}</text>
              </g>
            );
          })}
          {plan.nodes.map(({ node, x, y, width, height }) => (
            <g key={node.id} data-node={node.id} transform={`translate(${(x - width / 2).toFixed(1)} ${(y - height / 2).toFixed(1)})`}
              className={`node ${node.kind}${node.id === root ? " root" : ""}${failing(node.error_rate) ? " bad" : ""}${bright && !bright.found.has(node.id) ? " dim" : ""}`}
              onPointerEnter={() => setNear(node.id)} onPointerLeave={() => setNear(null)} onClick={() => open(node)}
              {...(node.kind === "function"
                ? { tabIndex: 0, role: "link", "aria-label": `${node.name}, ${said(node)}`, onFocus: () => setNear(node.id), onBlur: () => setNear(null),
                    onKeyDown: (event: KeyboardEvent) => { if (event.key === "Enter") open(node); } }
                : {})}>
              <title>{`${node.name}\n${said(node)}`}</title>
              <rect width={width} height={height} rx={node.kind === "service" ? 22 : 8} />
              <text x={width / 2} y={20} textAnchor="middle">{short(node.name, LONGEST_NAME)}</text>
              <text x={width / 2} y={36} textAnchor="middle" className={failing(node.error_rate) ? "small bad" : "small"}>{said(node)}</text>
            </g>
          ))}
        </g>
      </svg>
      <div className="tools">
        <button type="button" className="btn" aria-label="Larger" onClick={() => zoom(1.25)}>+</button>
        <button type="button" className="btn" aria-label="Smaller" onClick={() => zoom(0.8)}>−</button>
        <button type="button" className="btn" aria-label="Whole graph" title="Whole graph (0)" onClick={() => fit()}>⤢</button>
      </div>
    </div>
  );
}
