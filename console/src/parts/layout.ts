// Where things of a graph are drawn: dagre's layers, from callers on the left to callees on the right.
import dagre from "@dagrejs/dagre";
import type { MapEdge, MapNode, ServiceMap } from "../api";

export interface PlacedNode {
  node: MapNode;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface PlacedEdge {
  edge: MapEdge;
  path: string;
  label: { x: number; y: number };
}

export interface Plan {
  nodes: PlacedNode[];
  edges: PlacedEdge[];
  width: number;
  height: number;
}

export const NODE_HEIGHT = 46;

export const LONGEST_NAME = 28;

const widthOf = (node: MapNode, second: string) =>
  Math.max(104, 30 + Math.min(LONGEST_NAME, node.name.length) * 7.1, 24 + second.length * 6.3);

/** A smooth way through dagre's points. */
function curve(points: { x: number; y: number }[]): string {
  const at = (x: number, y: number) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  return points.map((point, i) => {
    const next = points[i + 1];
    if (i === 0) return `M${at(point.x, point.y)}`;
    // Straight at its end, so that the tip knows where to point.
    if (!next) return `L${at(point.x, point.y)}`;
    return `Q${at(point.x, point.y)} ${at((point.x + next.x) / 2, (point.y + next.y) / 2)}`;
  }).join("");
}

/** As much of a large map as can be drawn and read: what fits the filter with its neighbours, else the busiest. */
export function excerpt(map: ServiceMap, filter: string, most: number): ServiceMap {
  if (map.nodes.length <= most) return map;
  const words = filter.trim().toLowerCase();
  const wanted = new Set<string>();
  const take = (id: string) => wanted.size < most && wanted.add(id);
  if (words) {
    const fitting = new Set(map.nodes.filter((node) => node.name.toLowerCase().includes(words)).map((node) => node.id));
    fitting.forEach(take);
    for (const { from, to } of map.edges) if (fitting.has(from) || fitting.has(to)) [from, to].forEach(take);
  } else {
    // Calls, not nodes: what is drawn shall hang together.
    for (const { from, to } of [...map.edges].sort((a, b) => (b.per_hour ?? 0) - (a.per_hour ?? 0))) [from, to].forEach(take);
    for (const { id } of [...map.nodes].sort((a, b) => (b.per_hour ?? 0) - (a.per_hour ?? 0))) take(id);
  }
  return {
    nodes: map.nodes.filter(({ id }) => wanted.has(id)),
    edges: map.edges.filter(({ from, to }) => wanted.has(from) && wanted.has(to)),
    cycles: map.cycles.filter((ids) => ids.every((id) => wanted.has(id))),
    cut: true,
  };
}

/** `second` tells the line below a node's name, for which there must be room. */
export function place(map: ServiceMap, second: (node: MapNode) => string): Plan {
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: 16, ranksep: 92, edgesep: 10, marginx: 24, marginy: 24, ...(map.nodes.length > 300 ? { ranker: "longest-path" } : {}) });
  graph.setDefaultEdgeLabel(() => ({}));
  const known = new Set(map.nodes.map((node) => node.id));
  for (const node of map.nodes) graph.setNode(node.id, { width: widthOf(node, second(node)), height: NODE_HEIGHT });
  const edges = map.edges.filter((edge) => known.has(edge.from) && known.has(edge.to));
  edges.forEach((edge, i) => graph.setEdge(edge.from, edge.to, { width: 34, height: 14, labelpos: "c" }, String(i)));
  dagre.layout(graph);
  const { width = 0, height = 0 } = graph.graph();
  return {
    width: Number.isFinite(width) ? width : 400,
    height: Number.isFinite(height) ? height : 200,
    nodes: map.nodes.map((node) => {
      const { x, y, width, height } = graph.node(node.id);
      return { node, x, y, width, height };
    }),
    edges: edges.map((edge, i) => {
      const { points, x, y } = graph.edge(edge.from, edge.to, String(i)) as { points: { x: number; y: number }[]; x?: number; y?: number };
      const middle = points[Math.floor(points.length / 2)] ?? { x: 0, y: 0 };
      return { edge, path: curve(points), label: { x: x ?? middle.x, y: y ?? middle.y } };
    }),
  };
}
