// Many machines: the answers of `perhaps/hosts`, `placements`, `cluster` and `limits`, and what the page of the fleet makes of them.
import type { HostStatus } from "./api";

/** Moving averages of a path: latency in ms, failures, bytes/s, retransmits, samples, age in s. */
export type Quality = [number, number, number, number, number, number];

export interface HostRow {
  Name: string;
  Address: string;
  Zone: string;
  Labels: Record<string, string>;
  Phase: string;
  Alive: boolean;
  Version: string;
  Cpus: number;
  MemoryMb: number;
  BookedMb: number;
  DiskFreeMb: number | null;
  Sandboxes: number;
  Running: number;
  Pools: Record<string, number>;
  Channels: Record<string, Quality>;
  BeatAgeS: number | null;
  Failure: string;
}

export interface Placements {
  Seconds: number;
  Functions: { FunctionName: string; Calls: number; Hosts: Record<string, number> }[];
  LeftOut: number;
}

export interface Cluster {
  ControlPlane: string;
  ControlPlanes: { Name: string; Address: string; Door: string; Version: string; Duties: boolean; SeenSeconds: number }[];
  Feed: { Connected: boolean; Behind: boolean };
  Engine: { Kind: string; Address: string };
}

export interface Limits {
  Step: number;
  Limits: { FunctionName: string; Maximum: number; Current: number; Running: number; Hosts: { Name: string; Limit: number; Counted: number; Running: number; Steps: number }[] }[];
}

/** The machine of a server that is no cluster, as if it were the only host of one. */
export function onlyHost(status: HostStatus, version: string): HostRow {
  const { host, memory_mb, booked_mb, sandboxes, pool } = status;
  const total = Object.values(sandboxes).reduce((sum, n) => sum + n, 0);
  return {
    Name: host, Address: "", Zone: "", Labels: {}, Phase: "active", Alive: true, Version: version, Cpus: 0, MemoryMb: memory_mb,
    BookedMb: booked_mb, DiskFreeMb: null, Sandboxes: total, Running: sandboxes.busy ?? 0, Pools: pool, Channels: {}, BeatAgeS: null, Failure: "",
  };
}

/** What is to be seen first of a host. */
export function state({ Alive, Phase }: HostRow): [word: string, mood: string] {
  if (Phase === "expelled") return [Phase, "bad"];
  if (!Alive) return [Phase === "draining" ? "left" : "gone", Phase === "draining" ? "" : "bad"];
  return Phase === "active" ? ["active", "good"] : [Phase, "warn"];
}

/** The best latency to a service, of paths that carry. */
const best = (paths: Quality[]) => Math.min(...paths.filter(([, failures]) => failures < 0.05).map(([latency]) => latency));

/** Services with their path from each host, and how it compares with the best of them. */
export function channels(hosts: HostRow[]): { service: string; paths: Record<string, { quality: Quality; mood: string }> }[] {
  const services = [...new Set(hosts.flatMap((host) => Object.keys(host.Channels)))].sort();
  return services.map((service) => {
    const known = hosts.filter((host) => host.Channels[service]);
    const least = best(known.map((host) => host.Channels[service] as Quality));
    const paths = known.map((host) => {
      const quality = host.Channels[service] as Quality;
      const [latency, failures] = quality;
      const mood = failures >= 0.05 ? "bad" : latency > 2 * least + 1 ? "warn" : "good";
      return [host.Name, { quality, mood }] as const;
    });
    return { service, paths: Object.fromEntries(paths) };
  });
}

const FEW = 12;

/** The hosts that heat is shown of: all of a few, else those where anything ran, the busiest first; and how many are not. */
export function heated(rows: Placements["Functions"], hosts: string[]): { named: string[]; idle: number } {
  const calls: Record<string, number> = {};
  for (const { Hosts } of rows) for (const [host, n] of Object.entries(Hosts)) calls[host] = (calls[host] ?? 0) + n;
  const all = [...new Set([...hosts, ...Object.keys(calls)])];
  if (all.length <= FEW) return { named: all, idle: 0 };
  const named = Object.keys(calls).sort((a, b) => (calls[b] ?? 0) - (calls[a] ?? 0) || a.localeCompare(b));
  return { named, idle: all.length - named.length };
}
