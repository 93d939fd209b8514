// Where events come from: what waits there, how fast it is taken, and what fails.
import { useMemo, useState } from "react";
import { useData } from "../../client";
import { called, places, refused, span, useNow, type Delivery, type SourceRow } from "../../events";
import { ago, count } from "../../format";
import { List, sorted, type Column } from "../../parts/List";
import { Empty, Fact, Search, Trouble } from "../../parts/small";
import { Link, paths, setQuery, useRoute } from "../../route";
import { Chips, NotAllowed, State, Thing } from "./Words";

const KINDS: [string, string][] = [
  ["mapping", "Mappings"], ["queue", "Queues"], ["rule", "Rules"], ["subscription", "Subscriptions"],
  ["bucket", "Buckets"], ["folder", "Folders"], ["webhook", "Webhooks"],
];

const waiting = (row: SourceRow) => (row.Waiting ?? 0) + (row.Delayed ?? 0);
const dash = <span className="faint">–</span>;
const number = (value: number | undefined, look = "") => value === undefined ? dash : <span className={value ? look : "faint"}>{count(value)}</span>;

/** What a source says beyond numbers, in a line. */
function said(row: SourceRow): string {
  if (row.Kind === "queue")
    return [row.Sent && `${count(row.Sent)} sent`, row.Deleted && `${count(row.Deleted)} done`, row.GivenUp && `${count(row.GivenUp)} given up`, row.Expired && `${count(row.Expired)} expired`, row.Clients && `${row.Clients} waiting for more`].filter(Boolean).join(", ");
  if (row.Kind === "rule") return row.Pattern ?? "";
  if (row.Kind === "bucket") return row.Events?.map((each) => each.replace("s3:", "")).join(", ") || "every event";
  if (row.Kind === "folder") return row.Path ?? "";
  return row.LastResult || "";
}

function Detail({ row, paused, now }: { row: SourceRow; paused: number | undefined; now: number }) {
  if (paused !== undefined) return <span className="warn" title="the target failed and is left alone for a while">target tried again in {span(paused)}</span>;
  const trouble = row.Reason && row.Reason !== "USER_INITIATED" && row.State !== "Enabled" ? row.Reason : "";
  const text = trouble || said(row);
  const bad = trouble || /^PROBLEM/.test(text);
  const sent = row.Kind !== "queue" && row.Sent ? `${count(row.Sent)} sent${row.LastSent ? ` ${ago(row.LastSent, now)} ago` : ""}` : row.Received && row.Kind === "webhook" ? `${count(row.Received)} taken` : "";
  return <span title={[text, sent].filter(Boolean).join("\n")}>{sent && <span>{sent} </span>}<span className={bad ? "bad" : "soft"}>{text}</span></span>;
}

const columns = (now: number, delivery: Delivery | undefined): Column<SourceRow>[] => [
  { id: "source", title: "Source", width: "minmax(150px, 1.6fr)", by: (row) => called(row.Source).name, cell: (row) => <><Thing of={row.Source} quiet />{row.Kind === "rule" && <span className="soft" title={row.Id}> · {row.Id}</span>}</> },
  { id: "target", title: "Target", width: "minmax(130px, 1.3fr)", by: (row) => called(row.Target ?? "").name, cell: (row) => <Thing of={row.Target} /> },
  { id: "state", title: "State", width: "84px", by: (row) => row.State ?? "", cell: (row) => <State of={row.State} reason={row.Reason} /> },
  { id: "waiting", title: "Waiting", width: "66px", num: true, by: waiting, hint: "messages that wait to be taken, those that are delayed among them", cell: (row) => number(row.Waiting === undefined ? undefined : waiting(row), "strong") },
  { id: "oldest", title: "Oldest", width: "76px", num: true, by: (row) => row.OldestSeconds ?? 0, hint: "how long the oldest of them has waited", cell: (row) => row.OldestSeconds ? <span className={row.OldestSeconds > 60 ? "warn" : ""}>{span(row.OldestSeconds)}</span> : dash },
  { id: "flight", title: "In flight", width: "74px", num: true, by: (row) => row.InFlight ?? row.Hidden ?? 0, hint: "messages that are being worked on; for mappings also how many calls run at once, of how many at most", cell: (row) => row.InFlight === undefined ? number(row.Hidden) : <>{number(row.InFlight)}{Boolean(row.AtOnce) && <span className="faint" title={`${row.Running} of at most ${row.AtOnce} calls`}> · {row.Running}/{row.AtOnce}</span>}</> },
  { id: "rate", title: "Taken", width: "68px", num: true, by: (row) => row.PerSecond ?? 0, hint: "messages a second, of late", cell: (row) => row.PerSecond === undefined ? dash : row.PerSecond > 0 ? `${row.PerSecond >= 10 ? count(row.PerSecond) : row.PerSecond.toFixed(1)}/s` : <span className="faint">0</span> },
  { id: "failures", title: "Failures", width: "66px", num: true, by: (row) => row.FailuresPerMinute ?? 0, hint: "calls that failed, in the last minute", cell: (row) => number(row.FailuresPerMinute, "bad") },
  { id: "said", title: "Last result, or what is wanted", width: "minmax(140px, 1.8fr)", cell: (row) => <Detail row={row} paused={row.Target ? delivery?.Paused[row.Target] : undefined} now={now} /> },
];

function Totals({ rows, delivery }: { rows: SourceRow[]; delivery: Delivery | undefined }) {
  // What waits in a queue is told by the queue and by each mapping that takes from it.
  const places_ = [...new Map([...rows].sort((a, b) => Number(a.Kind === "queue") - Number(b.Kind === "queue")).map((row) => [row.Kind === "mapping" ? row.Source : row.Kind === "queue" ? row.Source : `${row.Kind} ${row.Source} ${row.Id}`, row])).values()];
  const sum = (of: (row: SourceRow) => number) => rows.reduce((total, row) => total + of(row), 0);
  const lag = places_.reduce((total, row) => total + waiting(row), 0);
  const oldest = Math.max(0, ...rows.map((row) => row.OldestSeconds ?? 0));
  const failures = sum((row) => row.FailuresPerMinute ?? 0);
  return (
    <dl className="facts" aria-label="All sources">
      <Fact name="Sources">{count(rows.length)}</Fact>
      <Fact name="Waiting" hint="messages in all sources">{count(lag)} {oldest > 0 && <small>oldest {span(oldest)}</small>}</Fact>
      <Fact name="In flight">{count(sum((row) => row.InFlight ?? 0))}</Fact>
      <Fact name="Failures" hint="in the last minute"><span className={failures ? "bad" : ""}>{count(failures)}</span></Fact>
      {delivery && <Fact name="On their way" hint="messages of this server that are accepted and not yet with their target">{count(delivery.Waiting)}</Fact>}
      {delivery && <Fact name="Dead letters"><Link to={places.letters}><span className={delivery.DeadLetters ? "bad" : ""}>{count(delivery.DeadLetters)}</span></Link></Fact>}
      {Boolean(delivery?.StoppedLoops) && <Fact name="Loops stopped" hint="functions that would have called themselves without end"><span className="warn">{count(delivery?.StoppedLoops ?? 0)}</span></Fact>}
    </dl>
  );
}

const FIRST = `aws lambda create-event-source-mapping --function-name NAME --event-source-arn QUEUE_ARN
forerun hooks put NAME --target FUNCTION
forerun folders put NAME PATH FUNCTION`;

export default function Sources() {
  const { query: asked } = useRoute();
  const words = asked.get("q") ?? "";
  const kind = asked.get("kind") ?? "";
  const { data, error, again } = useData<{ Sources: SourceRow[] }>("platform/sources", 3);
  const { data: delivery } = useData<Delivery>("platform/delivery", 3);
  const [sort, setSort] = useState({ id: "waiting", down: true });
  const now = useNow(5);
  const table = useMemo(() => columns(now, delivery), [now, delivery]);
  const rows = useMemo(() => {
    const all = words.toLowerCase().split(/\s+/).filter(Boolean);
    const fitting = (data?.Sources ?? []).filter((row) => (!kind || row.Kind === kind)
      && all.every((word) => `${row.Kind} ${row.Source} ${row.Target ?? ""} ${row.Id} ${row.State ?? ""} ${row.Path ?? ""}`.toLowerCase().includes(word)));
    fitting.sort((a, b) => a.Source.localeCompare(b.Source) || (a.Target ?? "").localeCompare(b.Target ?? ""));
    return sorted(fitting, table, sort);
  }, [data, words, kind, sort, table]);
  if (refused(error)) return <NotAllowed what="forerun:GetSources" />;
  if (error && !data) return <Trouble error={error} again={again} />;
  if (!data) return <p className="wait">…</p>;
  if (!data.Sources.length)
    return <Empty title="Nothing sends events yet." command={FIRST}>Queues, topics, buses’ rules, buckets, folders and webhooks appear here as soon as there are some; queues are made with SQS’s clients.</Empty>;
  const of = (each: string) => data.Sources.filter((row) => row.Kind === each).length;
  const chips: [string, string, number][] = [["", "All", data.Sources.length], ...KINDS.map(([value, title]): [string, string, number] => [value, title, of(value)]).filter(([, , n]) => n > 0)];
  return (
    <div className="stack">
      <Totals rows={data.Sources} delivery={delivery} />
      <section className="sheet" aria-label="Sources">
        <header className="wrap">
          <Chips label="Kinds of sources" of={chips} chosen={kind} choose={(value) => setQuery({ kind: value })} />
          <Search value={words} onChange={(q) => setQuery({ q })} label="Filter sources" />
        </header>
        <List about={`${kind} ${words}`} label="Sources" items={rows} columns={table} id={(row) => [row.Kind, row.Source, row.Id, row.Target].join(" ")}
          href={(row) => { const name = called(row.Target ?? "").function; return name ? paths.function(name) : undefined; }}
          height={32} sort={sort} onSort={setSort} empty={<Empty title="No source fits.">Nothing has “{words}” in its name, target, kind or state.</Empty>} />
      </section>
    </div>
  );
}
