// All functions of the account, with what they do now.
import { useMemo, useState } from "react";
import type { FunctionRow, Pulse, PulseRow, Sparks } from "../api";
import { useData, useStream } from "../client";
import { ago, count, epoch, mb, ms, rate, share } from "../format";
import { List, sorted, type Column } from "../parts/List";
import { Empty, Fact, Search, Spark, StartLegend, Starts, Trouble } from "../parts/small";
import { Link, paths, setQuery, useRoute } from "../route";

interface Row extends FunctionRow {
  pulse: PulseRow | undefined;
  hour: { calls: number[]; errors: number[] } | undefined;
  hourCalls: number;
}

const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);

const COLUMNS: Column<Row>[] = [
  {
    id: "name", title: "Function", width: "minmax(180px, 2.4fr)", by: (row) => row.name,
    cell: (row) => (
      <>
        <Link to={paths.function(row.name)} className="name" tabIndex={-1}>{row.name}</Link>{" "}
        <span className="faint">{row.runtime}</span>
      </>
    ),
  },
  { id: "rate", title: "Calls", width: "76px", num: true, hint: "in the last minute", by: (row) => row.pulse?.calls ?? 0,
    cell: (row) => row.pulse?.calls ? rate(row.pulse.calls, 60) : <span className="faint">–</span> },
  { id: "hour", title: "Last hour", width: "minmax(110px, 1.5fr)", hint: "calls per minute; what failed is red", by: (row) => row.hourCalls,
    cell: (row) => row.hour ? <Spark calls={row.hour.calls} errors={row.hour.errors} label={`${count(row.hourCalls)} calls in the last hour`} /> : null },
  { id: "errors", title: "Errors", width: "64px", num: true, hint: "share of the last minute's calls", by: (row) => row.pulse?.calls ? row.pulse.errors / row.pulse.calls : 0,
    cell: (row) => row.pulse?.errors ? <span className="bad">{share(row.pulse.errors / row.pulse.calls)}</span> : <span className="faint">{row.pulse?.calls ? "0%" : "–"}</span> },
  { id: "p50", title: "p50", width: "76px", num: true, by: (row) => row.pulse?.p50 ?? 0, cell: (row) => row.pulse?.calls ? ms(row.pulse.p50) : <span className="faint">–</span> },
  { id: "p95", title: "p95", width: "76px", num: true, by: (row) => row.pulse?.p95 ?? 0, cell: (row) => row.pulse?.calls ? ms(row.pulse.p95) : <span className="faint">–</span> },
  { id: "starts", title: "Starts", width: "minmax(70px, 0.8fr)", hint: "how the last minute's calls came to their sandbox", by: (row) => (row.pulse?.starts.cold ?? 0) + (row.pulse?.starts.zygote ?? 0),
    cell: (row) => row.pulse?.calls ? <Starts mix={row.pulse.starts} /> : null },
  { id: "memory", title: "Memory", width: "76px", num: true, by: (row) => row.memory_mb, cell: (row) => <span className="soft">{mb(row.memory_mb)}</span> },
  { id: "watched", title: "Monitoring", width: "84px", by: (row) => row.monitoring || "auto",
    cell: (row) => <span className={row.monitoring === "off" ? "warn" : "faint"}>{row.monitoring ? (Number(row.monitoring) ? `1 in ${row.monitoring}` : row.monitoring) : "auto"}</span> },
  { id: "modified", title: "Changed", width: "66px", num: true, by: (row) => row.modified, cell: (row) => <span className="faint">{ago(row.modified, epoch())}</span> },
];

function Totals({ pulse, sparks, functions }: { pulse: Pulse | undefined; sparks: Sparks | undefined; functions: number }) {
  const rows = Object.values(pulse?.functions ?? {});
  const calls = sum(rows.map((row) => row.calls));
  const errors = sum(rows.map((row) => row.errors));
  const throttles = sum(rows.map((row) => row.throttles));
  const mix: Record<string, number> = {};
  for (const row of rows) for (const [start, n] of Object.entries(row.starts)) mix[start] = (mix[start] ?? 0) + n;
  const hour = useMemo(() => {
    const total = { calls: [] as number[], errors: [] as number[] };
    for (const each of Object.values(sparks?.functions ?? {})) {
      each.calls.forEach((n, i) => (total.calls[i] = (total.calls[i] ?? 0) + n));
      each.errors.forEach((n, i) => (total.errors[i] = (total.errors[i] ?? 0) + n));
    }
    return total;
  }, [sparks]);
  return (
    <section className="row wrap" aria-label="All functions" style={{ gap: 28, alignItems: "flex-end" }}>
      <dl className="facts">
        <Fact name="Functions">{count(functions)}</Fact>
        <Fact name="Active" hint="called in the last minute">{rows.filter((row) => row.calls).length}</Fact>
        <Fact name="Calls"><span data-total-calls>{rate(calls, 60)}</span></Fact>
        <Fact name="Errors"><span className={errors ? "bad" : ""}>{calls ? share(errors / calls) : "–"}</span></Fact>
        {throttles > 0 && <Fact name="Refused" hint="throttled in the last minute"><span className="warn">{count(throttles)}</span></Fact>}
      </dl>
      <div className="grow" style={{ minWidth: 240 }}>
        <Spark calls={hour.calls.length ? hour.calls : [0]} errors={hour.errors} height={42} label={`${count(sum(hour.calls))} calls in the last hour`} />
      </div>
      <div style={{ width: 250 }}>
        <Starts mix={mix} />
        <div style={{ height: 6 }} />
        <StartLegend mix={mix} />
      </div>
    </section>
  );
}

export function Functions() {
  const { query } = useRoute();
  const filter = query.get("q") ?? "";
  const { data, error, again } = useData<{ functions: FunctionRow[] }>("functions", 15);
  const { data: sparks } = useData<Sparks>("platform/activity", 20);
  const [pulse, setPulse] = useState<Pulse>();
  const open = useStream<Pulse>("pulse", setPulse);
  const [sort, setSort] = useState({ id: "hour", down: true });

  const rows = useMemo<Row[]>(() => {
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = (data?.functions ?? []).filter((each) => {
      const text = `${each.name} ${each.runtime} ${each.description}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const joined = shown.map((each) => {
      const hour = sparks?.functions[each.name];
      return { ...each, pulse: pulse?.functions[each.name], hour, hourCalls: hour ? sum(hour.calls) : 0 };
    });
    // Equal ones keep an order that does not jump about: that of the last hour, then of the name.
    joined.sort((a, b) => b.hourCalls - a.hourCalls || a.name.localeCompare(b.name));
    return sorted(joined, COLUMNS, sort);
  }, [data, filter, pulse, sparks, sort]);

  if (error && !data) return <Trouble error={error} again={again} />;
  if (!data) return <p className="wait">…</p>;
  if (data.functions.length === 0)
    return (
      <Empty title="There is no function yet." command={"forerun deploy ./my-function\nforerun invoke my-function"}>
        Deploy a folder, a zip or a SAM template; it appears here at once.
      </Empty>
    );
  return (
    <div className="stack">
      <h1 className="vh">Functions</h1>
      <Totals pulse={pulse} sparks={sparks} functions={data.functions.length} />
      <section className="sheet" aria-label="Functions">
        <header>
          <Search value={filter} onChange={(q) => setQuery({ q })} label="Filter functions" />
          <span className="row soft">
            {filter && <span>{count(rows.length)} of {count(data.functions.length)}</span>}
            <span className="pulse-dot" data-on={open} role="img" aria-label={open ? "live" : "not connected"} title={open ? "live" : "not connected"} />
          </span>
        </header>
        <List about={filter} label="Functions" items={rows} columns={COLUMNS} id={(row) => row.name} href={(row) => paths.function(row.name)} sort={sort} onSort={setSort}
          empty={<Empty title="No function fits.">Nothing has “{filter}” in its name, runtime or description.</Empty>} />
      </section>
    </div>
  );
}
