// The latest calls of a function, with the steps that each went through.
import { useCallback, useMemo, useState } from "react";
import type { Invocation, InvocationPage, Timings } from "../../api";
import { ask, query, useData } from "../../client";
import { clock, ms } from "../../format";
import { List, type Column } from "../../parts/List";
import { Empty, Sheet, StartName, StatusTag, Trouble } from "../../parts/small";
import { Link, paths } from "../../route";

const STEPS: [keyof Timings, string, string][] = [
  ["admitted", "admitted", "--line-strong"],
  ["dequeued", "waited in the queue", "--prewarmed"],
  ["acquired", "waited for a sandbox", "--zygote"],
  ["loaded", "loaded the code", "--cold"],
  ["started", "entered the handler", "--line-strong"],
  ["ended", "ran", "--warm"],
  ["answered", "answered", "--line-strong"],
];

/** The id that the trace's page knows it by: 32 digits of the header's Root. */
export function traceOf(header: string): string | null {
  const root = /Root=1-([0-9a-f]{8})-([0-9a-f]{24})/.exec(header);
  return root ? `${root[1]}${root[2]}` : /^[0-9a-f]{32}$/.test(header) ? header : null;
}

export const monitored = (header: string) => /Sampled=1/.test(header);

function Steps({ timings, longest }: { timings: Timings; longest: number }) {
  const total = Math.max(timings.answered, timings.ended, timings.started) - timings.received;
  let before = timings.received;
  const parts: { name: string; took: number; color: string }[] = [];
  for (const [step, name, color] of STEPS) {
    const at = timings[step];
    if (!at || !before) continue;
    parts.push({ name, color, took: Math.max(0, at - before) });
    before = Math.max(at, before);
  }
  const text = parts.filter((part) => part.took > 0).map((part) => `${part.name}: ${ms(part.took * 1000)}`).join("\n");
  return (
    <div className="steps" title={text} role="img" aria-label={text} style={{ width: `${Math.max(1, (100_000 * total) / longest)}%` }}>
      {parts.map((part) => <i key={part.name} style={{ width: `${(100 * part.took) / Math.max(total, 1e-6)}%`, background: `var(${part.color})` }} />)}
    </div>
  );
}

const whole = ({ timings }: Invocation) => (Math.max(timings.answered, timings.ended) - timings.received) * 1000;

const columnsOf = (longest: number): Column<Invocation>[] => [
  { id: "at", title: "At", width: "98px", cell: (row) => <span className="mono">{clock(row.timings.received)}</span> },
  { id: "request", title: "Request", width: "86px", cell: (row) => <span className="mono faint" title={row.request_id}>{row.request_id.slice(0, 8)}</span> },
  { id: "status", title: "Result", width: "minmax(90px, 1fr)", cell: (row) => <StatusTag status={row.status} type={row.error_type} /> },
  { id: "version", title: "Version", width: "90px", cell: (row) => <span className="soft">{row.version}{row.qualifier && row.qualifier !== row.version ? ` · ${row.qualifier}` : ""}</span> },
  { id: "type", title: "Asked as", width: "84px", cell: (row) => <span className="soft">{row.invocation_type === "Event" ? (row.attempt > 1 ? `event, ${row.attempt}.` : "event") : "call"}</span> },
  { id: "start", title: "Start", width: "96px", cell: (row) => <StartName start={row.start_type} /> },
  { id: "init", title: "Init", width: "72px", num: true, cell: (row) => row.init_ms === null ? <span className="faint">–</span> : ms(row.init_ms) },
  { id: "ran", title: "Ran", width: "76px", num: true, cell: (row) => ms(row.duration_ms) },
  { id: "steps", title: "From receipt to answer", width: "minmax(120px, 2fr)", cell: (row) => <Steps timings={row.timings} longest={longest} /> },
  { id: "total", title: "Altogether", width: "80px", num: true, cell: (row) => ms(whole(row)) },
  { id: "memory", title: "Memory", width: "76px", num: true, cell: (row) => row.max_memory_mb ? <span className="soft">{row.max_memory_mb}/{row.memory_mb}</span> : "" },
  { id: "trace", title: "", width: "44px", num: true, cell: (row) => {
    const id = traceOf(row.trace_id);
    return id && monitored(row.trace_id) ? <Link to={paths.trace(id)} tabIndex={-1} className="faint">trace</Link> : null;
  } },
];

export function Invocations({ name }: { name: string }) {
  const [status, setStatus] = useState("");
  const path = query("platform/invocations", { FunctionName: name, Status: status, MaxItems: 200 });
  const { data, error, again } = useData<InvocationPage>(path, 3);
  const [older, setOlder] = useState<{ path: string; rows: Invocation[]; next: string | undefined }>();
  const more = older?.path === path ? older : undefined;
  const items = useMemo(() => {
    const known = new Set<string>();
    return [...(data?.Invocations ?? []), ...(more?.rows ?? [])].filter((row) => {
      const key = `${row.request_id}.${row.attempt}`;
      return known.has(key) ? false : known.add(key);
    });
  }, [data, more]);
  const longest = Math.max(0.001, ...items.slice(0, 200).map(whole));
  const columns = useMemo(() => columnsOf(longest), [longest]);
  const next = more ? more.next : data?.NextMarker;
  const onEnd = useCallback(() => {
    if (!next) return;
    void ask<InvocationPage>(`${path}&Marker=${next}`).then((page) =>
      setOlder((old) => ({ path, rows: [...(old?.path === path ? old.rows : []), ...page.Invocations], next: page.NextMarker })));
  }, [next, path]);
  if (error && !data) return <Trouble error={error} again={again} />;
  return (
    <Sheet title="Invocations" aside={
      <select aria-label="Result" value={status} onChange={(event) => setStatus(event.target.value)}>
        <option value="">all results</option>
        {["success", "error", "timeout", "throttled", "expired", "declined", "duplicate"].map((each) => <option key={each}>{each}</option>)}
      </select>}>
      {data && (
        <List about={path} label="Invocations" items={items} columns={columns} id={(row) => `${row.request_id}.${row.attempt}`} height={30} onEnd={onEnd}
          href={(row) => { const id = traceOf(row.trace_id); return id && monitored(row.trace_id) ? paths.trace(id) : undefined; }}
          empty={<Empty title={status ? `No call ended with “${status}”.` : "It has not been called yet."} {...(status ? {} : { command: `forerun invoke ${name}` })} />} />
      )}
    </Sheet>
  );
}
