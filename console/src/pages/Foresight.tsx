// What is foreseen: the pools, running executions with what they may call, and how right it has been about each function.
import { useMemo, useState } from "react";
import type { HostStatus } from "../api";
import { useData } from "../client";
import { hitShare, ofWaited, waste, when, why, type ForecastPage, type ForecastRow, type Foresight, type Traversal } from "../foresight";
import { ago, count, share } from "../format";
import { List, sorted, type Column } from "../parts/List";
import { Empty, Fact, FunctionLink, Search, Sheet, Trouble } from "../parts/small";
import { useRoute } from "../route";
import { Outlook } from "./foresight/Outlook";
import "../style/function.css";

const SHOWN = 8;
const idOf = (row: ForecastRow) => `${row.FunctionName}${row.Qualifier && `:${row.Qualifier}`}`;

const columns = (now: number): Column<ForecastRow>[] => [
  { id: "name", title: "Function", width: "minmax(150px, 2fr)", by: idOf, cell: (row) => <span className="name">{idOf(row)}</span> },
  { id: "next", title: "Next expected", width: "110px", by: (row) => -(row.Next?.since ?? Infinity), cell: (row) => row.Next && row.Next.until > now ? when(row.Next, now) : <span className="faint">–</span> },
  { id: "why", title: "Because", width: "minmax(160px, 2fr)", cell: (row) => <span className="soft">{row.Next ? `${share(row.Next.probability)}, ${why(row.Next)}` : row.PeriodS ? why({ reason: "period", cause: String(row.PeriodS) }) : ""}</span> },
  { id: "hits", title: "Hits", width: "70px", num: true, by: (row) => row.Hits, cell: (row) => count(row.Hits), hint: "calls that found a sandbox made or kept because they were expected" },
  { id: "misses", title: "Misses", width: "70px", num: true, by: (row) => row.Misses, cell: (row) => <span className={row.Misses ? "warn" : ""}>{count(row.Misses)}</span>, hint: "calls that had to wait for a start" },
  { id: "came", title: "Came", width: "96px", num: true, by: (row) => row.Came, cell: (row) => <>{count(row.Came)} <span className="faint">of {count(row.Expected)}</span></>, hint: "expectations in which a call came" },
  { id: "waste", title: "Wasted GB-s", width: "96px", num: true, by: (row) => row.WastedGbS, cell: (row) => waste(row.WastedGbS), hint: "what sandboxes without work have cost" },
  { id: "last", title: "Last call", width: "80px", num: true, by: (row) => row.LastCall, cell: (row) => <span className="soft">{ago(row.LastCall, now)}</span> },
];

function Running({ runs, now }: { runs: Traversal[]; now: number }) {
  return (
    <Sheet title="Running executions and what they may call" aside={<span className="tag good">{count(runs.length)}</span>}>
      <ul className="body cards">
        {runs.slice(0, SHOWN).map((run) => (
          <li key={run.execution}>
            <FunctionLink name={run.function.split(":")[0] ?? ""} /> <span className="faint">for {ago(run.began, now)}</span>
            <ul className="path">
              {run.ahead.slice(0, SHOWN).map((each) => (
                <li key={each.function} aria-label={`${each.function} ${share(each.probability)}`}>
                  <span className="clip">{each.function}</span>
                  <span className="track"><i style={{ width: `${100 * each.probability}%` }} /></span>
                  <span className="num soft">{share(each.probability)}</span>
                </li>
              ))}
            </ul>
            {!run.ahead.length && <p className="faint">it is likely to call nobody any more</p>}
            {run.branches.some((each) => each.excluded) && <p className="faint">no longer: {run.branches.filter((each) => each.excluded).map((each) => each.function).join(", ")}</p>}
          </li>
        ))}
      </ul>
    </Sheet>
  );
}

function Pools({ status, live }: { status: HostStatus; live: Foresight | undefined }) {
  const pools = Object.entries(status.pool_target);
  return (
    <Sheet title="Pools">
      <div className="body">
        {!pools.length && <p className="soft">None yet: a pool begins with the first function of its runtime.</p>}
        <ul className="coming">
          {pools.map(([name, target]) => (
            <li key={name}>
              <span className="strong">{name}</span>
              <span>{status.pool[name] ?? 0} waiting <span className="faint">of {target}</span></span>
              {live?.Pools[name] && <span className="soft">at least {live.Pools[name].Floor}: {live.Pools[name].Reason}</span>}
            </li>
          ))}
        </ul>
      </div>
    </Sheet>
  );
}

export default function ForesightPage() {
  const { query: asked } = useRoute();
  const { data: page, error, again } = useData<ForecastPage>("platform/forecast", 3);
  const { data: live } = useData<Foresight>("platform/foresight", 2);
  const { data: status } = useData<HostStatus>("platform/status", 2);
  const [filter, setFilter] = useState("");
  const [sort, setSort] = useState({ id: "last", down: true });
  const now = live?.Now ?? 0;
  const table = useMemo(() => columns(now), [now]);
  const rows = useMemo(() => {
    const words = filter.toLowerCase();
    return sorted((page?.Functions ?? []).filter((row) => idOf(row).toLowerCase().includes(words)), table, sort);
  }, [page, filter, sort, table]);
  if (error && !page) return <Trouble error={error} again={again} />;
  if (!page) return <p className="wait">…</p>;
  const chosen = page.Functions.find((row) => idOf(row) === asked.get("name")) ?? page.Functions.find((row) => row.Next) ?? page.Functions[0];
  const deferrable = status?.deferrable;
  return (
    <div className="stack">
      <div className="row wrap between" style={{ alignItems: "flex-end", gap: 28 }}>
        <div>
          <h1>Foresight</h1>
          <p className="soft">{page.Enabled ? "sandboxes are ready before the calls that are expected" : <span className="warn">Nothing is done ahead on this server (foresight.enabled).</span>}</p>
        </div>
        <dl className="facts">
          <Fact name="Hits" hint="of the calls that were foreseen or had to wait for a start">{hitShare(page.Total)} <small>{ofWaited(page.Total)}</small></Fact>
          <Fact name="Expected and came">{count(page.Total.Came)} <small>of {count(page.Total.Expected)}</small></Fact>
          <Fact name="Wasted">{waste(page.Total.WastedGbS)} <small>GB-s</small></Fact>
          {deferrable && <Fact name="Deferred events" hint={deferrable.held_by}>{count(deferrable.waiting)} <small>{deferrable.running > 0 ? `${count(deferrable.running)} running` : deferrable.held_by}</small></Fact>}
        </dl>
      </div>
      {chosen && <Outlook key={idOf(chosen)} name={chosen.FunctionName} qualifier={chosen.Qualifier} />}
      {live && live.Running.length > 0 && <Running runs={live.Running} now={now} />}
      {status && <Pools status={status} live={live} />}
      <Sheet title="Functions" aside={<Search value={filter} onChange={setFilter} label="Filter functions" />}>
        <List about={filter} label="Functions" items={rows} columns={table} id={idOf} href={(row) => `/foresight?name=${encodeURIComponent(idOf(row))}`} height={30} sort={sort} onSort={setSort}
          empty={<Empty title={filter ? "No function fits." : "No function has been called yet."} />} />
      </Sheet>
    </div>
  );
}
