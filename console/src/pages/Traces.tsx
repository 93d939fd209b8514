// The latest traces, by function, time, errors and length.
import { useCallback, useMemo, useState } from "react";
import type { TracePage, TraceRow } from "../api";
import { ask, query, useData } from "../client";
import { ago, clock, count, epoch, moment, ms } from "../format";
import { List, type Column } from "../parts/List";
import { Empty, Search, Sheet, StatusTag, Trouble } from "../parts/small";
import { go, Link, paths, setQuery, useRoute } from "../route";
import "../style/function.css";

const TRACE_ID = /^([0-9a-f]{32}|1-[0-9a-f]{8}-[0-9a-f]{24}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

export default function Traces() {
  const { query: asked } = useRoute();
  const name = asked.get("function") ?? "";
  const errors = asked.get("errors") === "true";
  const slow = asked.get("slow") ?? "";
  const [text, setText] = useState(name);
  const path = query("platform/traces", { FunctionName: name, Errors: errors ? "true" : "", MinDurationMs: slow, MaxItems: 200 });
  const { data, error, again } = useData<TracePage>(path, 3);
  const [older, setOlder] = useState<{ path: string; rows: TraceRow[]; next: string | undefined }>();
  const more = older?.path === path ? older : undefined;
  const items = useMemo(() => {
    const known = new Set<string>();
    return [...(data?.Traces ?? []), ...(more?.rows ?? [])].filter((row) => (known.has(row.trace_id) ? false : known.add(row.trace_id)));
  }, [data, more]);
  const next = more ? more.next : data?.NextMarker;
  const onEnd = useCallback(() => {
    if (!next) return;
    void ask<TracePage>(`${path}&Marker=${encodeURIComponent(next)}`).then((page) =>
      setOlder((old) => ({ path, rows: [...(old?.path === path ? old.rows : []), ...page.Traces], next: page.NextMarker })));
  }, [next, path]);

  const longest = Math.max(1e-6, ...items.slice(0, 400).map((row) => row.duration_s));
  const columns: Column<TraceRow>[] = useMemo(() => [
    { id: "at", title: "Began", width: "150px", cell: (row) => <span title={moment(row.started)}><span className="mono">{clock(row.started)}</span> <span className="faint">{ago(row.started, epoch())}</span></span> },
    { id: "root", title: "Began with", width: "minmax(140px, 1.2fr)", cell: (row) => <Link to={paths.trace(row.trace_id)} className="name" tabIndex={-1}>{row.root || "an instrumented program"}</Link> },
    { id: "status", title: "Result", width: "84px", cell: (row) => <StatusTag status={row.status} type={row.errors > 1 ? `${row.errors} errors` : null} /> },
    { id: "who", title: "Took part", width: "minmax(120px, 1.6fr)", cell: (row) => <span className="soft" title={row.functions.join("\n")}>{row.functions.filter((each) => each !== row.root).join(", ") || <span className="faint">nobody else</span>}</span> },
    { id: "executions", title: "Executions", width: "76px", num: true, cell: (row) => count(row.executions) },
    { id: "spans", title: "Spans", width: "60px", num: true, cell: (row) => <span className="soft">{count(row.spans)}</span> },
    { id: "bar", title: "", width: "minmax(80px, 1fr)", cell: (row) => <div className="placed" aria-hidden="true"><i style={{ left: 0, width: `${Math.max(0.5, (100 * row.duration_s) / longest)}%` }} /></div> },
    { id: "took", title: "Took", width: "80px", num: true, cell: (row) => ms(row.duration_s * 1000) },
  ], [longest]);

  const enter = (value: string) => {
    setText(value);
    if (TRACE_ID.test(value.trim())) go(paths.trace(value.trim()));
    else setQuery({ function: value.trim() });
  };
  return (
    <Sheet title="Traces" aside={
      <div className="row">
        <Search value={text} onChange={enter} label="Function, or the id of a trace or request" width={300} />
        <select aria-label="Took at least" value={slow} onChange={(event) => setQuery({ slow: event.target.value })}>
          <option value="">of any length</option>
          {[["10", "10 ms or more"], ["100", "100 ms or more"], ["1000", "1 s or more"], ["10000", "10 s or more"]].map(([value, label]) => <option key={value} value={value}>{label}</option>)}
        </select>
        <label className="check"><input type="checkbox" checked={errors} onChange={(event) => setQuery({ errors: event.target.checked ? "true" : "" })} />errors only</label>
      </div>}>
      <h1 className="vh">Traces</h1>
      {error && !data && <div className="body"><Trouble error={error} again={again} /></div>}
      {data && (
        <List about={path} label="Traces" items={items} columns={columns} id={(row) => row.trace_id} href={(row) => paths.trace(row.trace_id)} height={32} onEnd={onEnd}
          empty={name || errors || slow
            ? <Empty title="No trace fits.">Traces are kept of monitored executions only, for some days. A function’s name has to be given in full.</Empty>
            : <Empty title="No trace has been kept yet." command="forerun invoke NAME">Call a function; what it causes appears here a moment after it ended.</Empty>} />
      )}
    </Sheet>
  );
}
