// The machine: its memory, its pools, its sandboxes.
import { useMemo, useState } from "react";
import type { HostStatus, SandboxRow } from "../api";
import { useData } from "../client";
import { count, mb, share } from "../format";
import { List, sorted, type Column } from "../parts/List";
import { Empty, Fact, FunctionLink, Search, Sheet, StartLegend, Starts, Trouble } from "../parts/small";
import "../style/function.css";

const idle = (s: number) => (s < 90 ? `${Math.round(s)} s` : `${Math.round(s / 60)} min`);

const COLUMNS: Column<SandboxRow>[] = [
  { id: "id", title: "Sandbox", width: "minmax(110px, 1fr)", by: (row) => row.id, cell: (row) => <span className="mono">{row.id}</span> },
  { id: "state", title: "State", width: "100px", by: (row) => row.state, cell: (row) => <span className={row.state === "busy" ? "tag good" : "tag"}>{row.state}</span> },
  { id: "name", title: "Function", width: "minmax(140px, 2fr)", by: (row) => row.name ?? "", cell: (row) => row.name ? <><FunctionLink name={row.name} /> <span className="faint">{row.version}</span></> : <span className="faint">nobody’s yet</span> },
  { id: "runtime", title: "Runtime", width: "130px", by: (row) => row.runtime, cell: (row) => <span className="soft">{row.runtime}</span> },
  { id: "isolation", title: "Isolation", width: "80px", cell: (row) => <span className={row.isolation === "jail" ? "soft" : "warn"}>{row.isolation}</span> },
  { id: "calls", title: "Calls", width: "76px", num: true, by: (row) => row.calls, cell: (row) => count(row.calls) },
  { id: "used", title: "Used", width: "86px", num: true, by: (row) => row.used_mb, cell: (row) => `${row.used_mb.toFixed(1)} MB` },
  { id: "booked", title: "Booked", width: "86px", num: true, by: (row) => row.booked_mb, cell: (row) => <span className="soft">{mb(row.booked_mb)}</span> },
  { id: "idle", title: "Idle for", width: "80px", num: true, by: (row) => row.idle_s, cell: (row) => <span className="soft">{row.state === "busy" ? "–" : idle(row.idle_s)}</span> },
];

export default function Host() {
  const { data: status, error, again } = useData<HostStatus>("platform/status", 2);
  const { data: list } = useData<{ Sandboxes: SandboxRow[] }>("platform/sandboxes", 2);
  const [filter, setFilter] = useState("");
  const [sort, setSort] = useState({ id: "state", down: false });
  const rows = useMemo(() => {
    const words = filter.toLowerCase();
    const fitting = (list?.Sandboxes ?? []).filter((row) => `${row.id} ${row.state} ${row.name ?? ""} ${row.runtime}`.toLowerCase().includes(words));
    return sorted(fitting, COLUMNS, sort);
  }, [list, filter, sort]);
  if (error && !status) return <Trouble error={error} again={again} />;
  if (!status) return <p className="wait">…</p>;
  const booked = status.booked_mb / Math.max(1, status.memory_mb);
  const used = (list?.Sandboxes ?? []).reduce((sum, row) => sum + row.used_mb, 0);
  return (
    <div className="stack">
      <div className="row wrap between" style={{ alignItems: "flex-end", gap: 28 }}>
        <div>
          <h1>{status.host}</h1>
          <p className="soft">
            {status.isolation === "jail" ? "sandboxes are jailed by the kernel" : <span className="warn">code is not isolated here (sandbox.mode is process)</span>} · {status.runtimes.join(", ")}
          </p>
        </div>
        <dl className="facts">
          <Fact name="Sandboxes">{count(Object.values(status.sandboxes).reduce((a, b) => a + b, 0))} <small>{Object.entries(status.sandboxes).filter(([, n]) => n).map(([state, n]) => `${n} ${state}`).join(", ")}</small></Fact>
          <Fact name="Waiting for memory"><span className={status.waiting ? "warn" : ""}>{status.waiting}</span></Fact>
          <Fact name="Destroyed">{count(status.destroyed)}</Fact>
          <Fact name="Could not be made"><span className={status.failed ? "bad" : ""}>{count(status.failed)}</span></Fact>
        </dl>
      </div>
      <div className="cards">
        <Sheet title="Memory" aside={<span className="soft">{mb(status.booked_mb)} of {mb(status.memory_mb)}</span>}>
          <div className="body">
            <div className="meter" role="img" aria-label={`${share(booked)} booked`}><i style={{ width: `${Math.min(100, booked * 100)}%` }} /><b style={{ width: `${Math.min(100, (100 * used) / Math.max(1, status.memory_mb))}%` }} /></div>
            <p className="soft" style={{ marginTop: 6 }}>{share(booked)} booked, {mb(used)} in use by the sandboxes you may see</p>
          </div>
        </Sheet>
        <Sheet title="Warming pools">
          <div className="body">
            {Object.keys(status.pool_target).length === 0 && <p className="soft">None yet: a pool begins with the first function of its runtime.</p>}
            <dl className="pairs">
              {Object.entries(status.pool_target).map(([runtime, target]) => (
                <div key={runtime}><dt>{runtime}</dt><dd>{status.pool[runtime] ?? 0} ready <span className="faint">of {target}</span></dd></div>
              ))}
            </dl>
          </div>
        </Sheet>
        <Sheet title="Starts since the server began">
          <div className="body"><Starts mix={status.starts} /><div style={{ height: 8 }} /><StartLegend mix={status.starts} /></div>
        </Sheet>
      </div>
      <Sheet title="Sandboxes" aside={<Search value={filter} onChange={setFilter} label="Filter sandboxes" />}>
        <List about={filter} label="Sandboxes" items={rows} columns={COLUMNS} id={(row) => row.id} height={30} sort={sort} onSort={setSort}
          empty={<Empty title={filter ? "No sandbox fits." : "There are no sandboxes now."}>{filter ? "" : "The next call makes one."}</Empty>} />
      </Sheet>
    </div>
  );
}
