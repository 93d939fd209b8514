// All machines: hosts and what is wished of them, where calls ran, what their paths to services are like, who has the duties, and limits.
import { useMemo, useState, type CSSProperties, type ReactNode } from "react";
import type { HostStatus, Me } from "../api";
import { ask, Refusal, useData } from "../client";
import { channels, heated, onlyHost, state, type Cluster, type HostRow, type Limits, type Placements } from "../fleet";
import { count, mb, ms, share } from "../format";
import { List, sorted, type Column } from "../parts/List";
import { Empty, Fact, FunctionLink, Search, Sheet, Trouble } from "../parts/small";
import { Ask } from "./events/Ask";
import "../style/events.css";
import "../style/fleet.css";
import "../style/function.css";

const SERVICES = 40;
const FUNCTIONS = 40;
const PARTS = 12;
const LITTLE_MB = 2048;

interface Wish {
  verb: "cordon" | "drain" | "uncordon";
  host: string;
}

function Bar({ of, used, label }: { of: number; used: number; label: string }) {
  return <div className="meter" role="img" aria-label={label} title={label}><b style={{ width: `${Math.min(100, (100 * used) / Math.max(1, of))}%` }} /></div>;
}

const columns = (wish: ((wish: Wish) => void) | null): Column<HostRow>[] => [
  { id: "name", title: "Host", width: "minmax(110px, 1.4fr)", by: (row) => row.Name, cell: (row) => <span className="name" title={[row.Address, ...Object.entries(row.Labels).map(([name, value]) => `${name}=${value}`)].join("\n")}>{row.Name}</span> },
  { id: "state", title: "State", width: "minmax(84px, 1fr)", by: (row) => state(row)[0], cell: (row) => <><span className={`tag ${state(row)[1]}`}>{state(row)[0]}</span> <span className="faint" title={row.Failure}>{row.Failure}</span></> },
  { id: "zone", title: "Zone", width: "56px", by: (row) => row.Zone, cell: (row) => <span className="soft">{row.Zone || "–"}</span> },
  { id: "version", title: "Version", width: "56px", by: (row) => row.Version, cell: (row) => <span className="soft">{row.Version}</span> },
  { id: "memory", title: "Memory booked", width: "minmax(170px, 1.5fr)", by: (row) => row.BookedMb / Math.max(1, row.MemoryMb), cell: (row) => <div className="used"><Bar of={row.MemoryMb} used={row.BookedMb} label={`${share(row.BookedMb / Math.max(1, row.MemoryMb))} of its memory booked`} /><span className="soft">{mb(row.BookedMb)} <span className="faint">of {mb(row.MemoryMb)}</span></span></div> },
  { id: "disk", title: "Disk free", width: "72px", num: true, by: (row) => row.DiskFreeMb ?? -1, cell: (row) => <span className={row.DiskFreeMb !== null && row.DiskFreeMb < LITTLE_MB ? "warn" : "soft"}>{row.DiskFreeMb === null ? "–" : mb(row.DiskFreeMb)}</span> },
  { id: "running", title: "Running", width: "64px", num: true, by: (row) => row.Running, cell: (row) => count(row.Running), hint: "calls, as its last beat says" },
  { id: "sandboxes", title: "Sandboxes", width: "104px", by: (row) => row.Sandboxes, cell: (row) => <div className="used"><Bar of={row.Sandboxes} used={row.Running} label={`${row.Running} of ${row.Sandboxes} sandboxes at work`} /><span>{count(row.Sandboxes)}</span></div>, hint: "the bar: those at work" },
  { id: "pools", title: "Pools", width: "minmax(90px, 1fr)", by: (row) => Object.values(row.Pools).reduce((sum, n) => sum + n, 0), cell: (row) => <span className="soft">{Object.entries(row.Pools).map(([pool, n]) => `${n} ${pool}`).join(", ") || "–"}</span>, hint: "unassigned sandboxes that wait" },
  { id: "beat", title: "Last beat", width: "70px", num: true, by: (row) => row.BeatAgeS ?? -1, cell: (row) => <span className={row.Alive ? "soft" : "bad"}>{row.BeatAgeS === null ? "–" : ms(row.BeatAgeS * 1000)}</span> },
  ...(wish ? [{
    id: "wish", title: "", width: "150px", num: true,
    cell: (row: HostRow) => row.Phase === "expelled" || (row.Phase === "draining" && !row.Alive) ? null : <>
      {(row.Phase === "active" ? ["cordon", "drain"] as const : row.Phase === "cordoned" ? ["uncordon", "drain"] as const : ["uncordon"] as const).map((verb) => (
        <button key={verb} type="button" className="btn" aria-label={`${verb} ${row.Name}`} onClick={() => wish({ verb, host: row.Name })}>{verb[0]?.toUpperCase()}{verb.slice(1)}</button>
      ))}
    </>,
  }] : []),
];

const ABOUT = {
  cordon: "It gets no new calls; those that run go on. Uncordon gives it calls again.",
  drain: "It gets no new calls. When those that run are over, its agent ends and it leaves the cluster; what is held ready there is made elsewhere.",
  uncordon: "It gets calls again.",
};

/** Rows of things by hosts; a cell says its number, its colour only repeats it. */
function Matrix({ label, corner, hosts, rows }: { label: string; corner: string; hosts: string[]; rows: { id: string; head: ReactNode; cells: Record<string, { text: string; mood?: string; heat?: number; hint: string }> }[] }) {
  return (
    <div className="matrix body" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead><tr><th scope="col">{corner}</th>{hosts.map((host) => <th key={host} scope="col" className="clip" title={host}>{host}</th>)}</tr></thead>
        <tbody>
          {rows.map(({ id, head, cells }) => (
            <tr key={id}>
              <th scope="row" className="clip" title={id}>{head}</th>
              {hosts.map((host) => {
                const cell = cells[host];
                if (!cell) return <td key={host} className="faint">–</td>;
                const style: CSSProperties = cell.heat === undefined ? {} : { background: `color-mix(in srgb, var(--warm) ${Math.round(10 + 50 * cell.heat)}%, var(--sheet))` };
                return <td key={host} className={cell.mood ?? ""} style={style} title={cell.hint}>{cell.text}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Heat({ placements, hosts }: { placements: Placements; hosts: string[] }) {
  const shown = placements.Functions.slice(0, FUNCTIONS);
  const { named, idle } = heated(shown, hosts);
  const minutes = placements.Seconds / 60;
  const rest = placements.LeftOut + placements.Functions.slice(FUNCTIONS).reduce((sum, row) => sum + row.Calls, 0);
  return (
    <Sheet title="Where calls ran" aside={<span className="soft">the last {minutes} minutes{idle > 0 && `; nothing ran on ${idle} hosts`}{rest > 0 && `; ${count(rest)} calls of others are left out`}</span>}>
      {shown.length === 0 ? <p className="body soft">No call in that time.</p> : (
        <Matrix label="Calls by function and host" corner="Function" hosts={named} rows={shown.map((row) => ({
          id: row.FunctionName,
          head: <FunctionLink name={row.FunctionName} />,
          cells: Object.fromEntries(Object.entries(row.Hosts).map(([host, calls]) => [host, { text: count(calls), heat: calls / row.Calls, hint: `${share(calls / row.Calls)} of ${count(row.Calls)} calls of ${row.FunctionName} ran on ${host}` }])),
        }))} />
      )}
    </Sheet>
  );
}

function Channels({ hosts }: { hosts: HostRow[] }) {
  const rows = channels(hosts);
  const named = hosts.filter((host) => Object.keys(host.Channels).length).map((host) => host.Name);
  return (
    <Sheet title="Channels" aside={<span className="soft">latency from host to service{rows.length > SERVICES && `; ${rows.length - SERVICES} services more`}</span>}>
      {rows.length === 0 ? <p className="body soft">None is measured: channels are those to services that functions have called.</p> : (
        <Matrix label="Channels by service and host" corner="Service" hosts={named} rows={rows.slice(0, SERVICES).map(({ service, paths }) => ({
          id: service,
          head: service,
          cells: Object.fromEntries(Object.entries(paths).map(([host, { quality: [latency, failures, , retransmits, samples, age], mood }]) => [host, {
            text: ms(latency) + (failures > 0.0005 ? ` · ${share(failures)} fail` : ""),
            mood,
            hint: `${host} to ${service}: ${ms(latency)}, ${share(failures)} failures, ${share(retransmits)} sent again; ${count(samples)} samples, the newest ${Math.round(age)} s old when it was told`,
          }])),
        }))} />
      )}
    </Sheet>
  );
}

function Planes({ cluster }: { cluster: Cluster }) {
  const { Kind, Address } = cluster.Engine;
  return (
    <Sheet title="Control planes" aside={<span className="soft">{Kind === "none" ? "no engine: forerun join keeps agents" : `engine ${Kind}${Address && ` at ${Address}`}`}</span>}>
      <div className="body planes" tabIndex={0} role="region" aria-label="Control planes by name">
        <table className="table">
          <thead><tr><th scope="col">Name</th><th scope="col">Duties</th><th scope="col">API</th><th scope="col">Door</th><th scope="col">Version</th><th scope="col" className="num">Seen</th></tr></thead>
          <tbody>
            {cluster.ControlPlanes.map((plane) => (
              <tr key={plane.Name}>
                <td className="strong">{plane.Name}</td>
                <td>{plane.Duties ? <span className="tag good">has the duties</span> : <span className="faint">–</span>}</td>
                <td>{plane.Address}</td><td>{plane.Door}</td><td>{plane.Version}</td>
                <td className="num">{ms(plane.SeenSeconds * 1000)} ago</td>
              </tr>
            ))}
          </tbody>
        </table>
        {cluster.Feed.Behind && <p className="warn">{cluster.ControlPlane} does not hear of changes now: it asks the database instead.</p>}
      </div>
    </Sheet>
  );
}

function LimitsSheet({ limits }: { limits: Limits }) {
  return (
    <Sheet title="Limits of this account" aside={<span className="soft">{limits.Step ? `a step is ${limits.Step} calls at once on one host` : "one machine counts by itself"}</span>}>
      <div className="body planes" tabIndex={0} role="region" aria-label="Limits by function">
        <table className="table">
          <thead><tr><th scope="col">Limit of</th><th scope="col" style={{ width: 160 }}>Running</th><th scope="col" className="num">Current</th><th scope="col" className="num">Maximum</th><th scope="col">Hosts</th></tr></thead>
          <tbody>
            {limits.Limits.map((limit) => {
              const holding = limit.Hosts.filter((host) => host.Limit || host.Counted);
              return (
                <tr key={limit.FunctionName}>
                  <td className="strong">{limit.FunctionName || "all other functions"}</td>
                  <td><div className="used"><Bar of={limit.Current} used={limit.Running} label={`${limit.Running} run of ${limit.Current} that may now`} /><span>{count(limit.Running)}</span></div></td>
                  <td className="num">{count(limit.Current)}</td><td className="num">{count(limit.Maximum)}</td>
                  <td>
                    <span className="parts">
                      {limits.Step > 0 && holding.slice(0, PARTS).map((host) => <span key={host.Name} title={host.Counted > host.Limit ? "it has not said yet that it keeps to less" : ""}>{host.Name} <span className="faint">{host.Running} of {host.Limit}, {host.Steps} {host.Steps === 1 ? "step" : "steps"}{host.Counted > host.Limit && <span className="warn"> counts as {host.Counted}</span>}</span></span>)}
                      {holding.length > PARTS && limits.Step > 0 && <span className="faint">and {holding.length - PARTS} more</span>}
                    </span>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Sheet>
  );
}

export default function Fleet() {
  const { data: told, error, again } = useData<{ Hosts: HostRow[] } | null>("perhaps/hosts", 2);
  const single = told === null;
  const refused = error instanceof Refusal && error.status === 403;
  const { data: me } = useData<Me>(single ? "me" : null);
  const { data: status } = useData<HostStatus>(single ? "platform/status" : null, 2);
  const { data: placements } = useData<Placements | null>(single ? null : "perhaps/placements", 5);
  const { data: cluster } = useData<Cluster | null>(single || refused ? null : "perhaps/cluster", 3);
  const { data: limits } = useData<Limits | null>("perhaps/limits", 3);
  const [filter, setFilter] = useState("");
  const [sort, setSort] = useState({ id: "name", down: false });
  const [wish, setWish] = useState<Wish>();
  const table = useMemo(() => columns(single ? null : setWish), [single]);
  const hosts = useMemo(() => told?.Hosts ?? (single && status ? [onlyHost(status, me?.version ?? "")] : undefined), [told, single, status, me]);
  const rows = useMemo(() => {
    const words = filter.toLowerCase();
    return sorted((hosts ?? []).filter((row) => `${row.Name} ${row.Zone} ${state(row)[0]} ${row.Version}`.toLowerCase().includes(words)), table, sort);
  }, [hosts, filter, sort, table]);
  if (error && !refused && !hosts) return <Trouble error={error} again={again} />;
  if (!hosts && !refused) return <p className="wait">…</p>;
  const all = hosts ?? [];
  const alive = all.filter((row) => row.Alive);
  const sum = (of: (row: HostRow) => number) => alive.reduce((total, row) => total + of(row), 0);
  const zones = new Set(all.map((row) => row.Zone).filter(Boolean)).size;
  return (
    <div className="stack">
      <div className="row wrap between" style={{ alignItems: "flex-end", gap: 28 }}>
        <div>
          <h1>Fleet</h1>
          <p className="soft">
            {single ? <>There is one machine. Others can join after <code>forerun migrate</code>.</> : refused ? error.message
              : `${count(all.length)} ${all.length === 1 ? "host" : "hosts"}${zones > 1 ? ` in ${zones} zones` : ""}${cluster ? ` behind ${cluster.ControlPlanes.length} control ${cluster.ControlPlanes.length === 1 ? "plane" : "planes"}` : ""}`}
          </p>
        </div>
        {!refused && (
          <dl className="facts">
            <Fact name="Hosts there"><span className={alive.length < all.length ? "warn" : ""}>{count(alive.length)}</span> <small>of {count(all.length)}</small></Fact>
            <Fact name="Memory booked">{mb(sum((row) => row.BookedMb))} <small>of {mb(sum((row) => row.MemoryMb))}</small></Fact>
            <Fact name="Running">{count(sum((row) => row.Running))} <small>in {count(sum((row) => row.Sandboxes))} sandboxes</small></Fact>
            <Fact name="In pools">{count(sum((row) => Object.values(row.Pools).reduce((total, n) => total + n, 0)))}</Fact>
          </dl>
        )}
      </div>
      {error && !refused && <Trouble error={error} again={again} />}
      {!refused && (
        <Sheet title="Hosts" aside={<Search value={filter} onChange={setFilter} label="Filter hosts" />}>
          <div className={single ? "" : "fleet"}>
            <List about={filter} label="Hosts" items={rows} columns={table} id={(row) => row.Name} height={32} room={Math.min(420, 32 * Math.max(1, rows.length) + 4)} sort={sort} onSort={setSort}
              empty={filter ? <Empty title="No host fits." /> : <Empty title="There are no hosts yet." command="forerun token create">It prints the command for the machine that is to join.</Empty>} />
          </div>
        </Sheet>
      )}
      {placements && <Heat placements={placements} hosts={all.map((row) => row.Name)} />}
      {!single && !refused && <Channels hosts={all} />}
      {cluster && <Planes cluster={cluster} />}
      {limits && <LimitsSheet limits={limits} />}
      {wish && (
        <Ask title={`${wish.verb[0]?.toUpperCase()}${wish.verb.slice(1)} ${wish.host}?`} verb={wish.verb} grave={wish.verb === "drain"} close={() => setWish(undefined)}
          act={async () => { await ask(`platform/${wish.verb}`, { Host: wish.host }); again(); }}>
          <p>{ABOUT[wish.verb]}</p>
        </Ask>
      )}
    </div>
  );
}
