// What is called by the clock: Scheduler's schedules and rules of buses, when they are next, and what came of the last time.
import { useMemo, useState, type ReactNode } from "react";
import { ahead, called, local, ownZone, refused, span, useNow, usePages, type ScheduleRow } from "../../events";
import { ago, count } from "../../format";
import { List, sorted, type Column } from "../../parts/List";
import { Empty, Search, Sheet, Trouble } from "../../parts/small";
import { go, Link, paths, setQuery, useRoute } from "../../route";
import { NotAllowed, Outcome, Pairs, Thing } from "./Words";

const MOST = 2000;
const named = (row: ScheduleRow) => (row.Group && row.Group !== "default" ? `${row.Group}/${row.Name}` : row.Name);

const columns = (now: number): Column<ScheduleRow>[] => [
  { id: "name", title: "Schedule", width: "minmax(150px, 1.5fr)", by: named, cell: (row) => <><span className="name">{named(row)}</span> {row.Kind === "rule" && <span className="tag">rule</span>}</> },
  { id: "when", title: "When", width: "minmax(130px, 1.1fr)", by: (row) => row.Expression, cell: (row) => <span className="mono" title={row.Expression}>{row.Expression}</span> },
  { id: "zone", title: "Time zone", width: "minmax(80px, 0.7fr)", by: (row) => row.Timezone, cell: (row) => <span className="soft">{row.Timezone}</span> },
  { id: "next", title: "Next", width: "104px", by: (row) => row.Next[0] ?? Infinity, cell: (row) => row.State === "DISABLED" ? <span className="tag warn">disabled</span> : row.Next[0] ? <span className={row.Late ? "warn" : ""}>{row.Late ? "late" : ahead(row.Next[0], now)}</span> : <span className="faint">{row.Last?.At ? "done" : "never"}</span> },
  { id: "at", title: "In your time zone", width: "172px", cell: (row) => row.Next[0] ? <span className="soft">{local(row.Next[0])}</span> : null },
  { id: "last", title: "Last", width: "64px", num: true, by: (row) => row.Last?.At ?? 0, cell: (row) => row.Last?.At ? <span className="soft" title={local(row.Last.At)}>{ago(row.Last.At, now)}</span> : <span className="faint">–</span> },
  { id: "outcome", title: "Result", width: "92px", by: (row) => row.Last?.Status ?? row.Last?.Outcome ?? "", cell: (row) => <Outcome last={row.Last} /> },
  { id: "target", title: "Target", width: "minmax(130px, 1.2fr)", by: (row) => called(row.Targets[0] ?? "").name, cell: (row) => <><Thing of={row.Targets[0]} />{row.Targets.length > 1 && <span className="faint"> and {row.Targets.length - 1} more</span>}</> },
];

function One({ row, now, close }: { row: ScheduleRow; now: number; close: string }) {
  const zone = ownZone();
  const other = row.Timezone && row.Timezone !== zone;
  const last = row.Last;
  return (
    <Sheet title={named(row)} className="aside" aside={<Link to={close} className="icon" aria-label="Close">×</Link>}>
      <div className="body stack">
        <div>
          <h3>Next five firings</h3>
          {row.Next.length ? (
            <ol className="firings" aria-label={`Next firings, ${zone}`}>
              {row.Next.map((at) => (
                <li key={at}>
                  <time dateTime={new Date(at * 1000).toISOString()}>{local(at)}</time> <span className="soft">{ahead(at, now)}</span>
                  {other && <span className="faint">{local(at, row.Timezone)} {row.Timezone}</span>}
                </li>
              ))}
            </ol>
          ) : <p className="soft">{row.State === "DISABLED" ? "None: it is disabled." : "None: it has done all that it was to do."}</p>}
          <p className="faint">Times are those of your time zone, {zone}.</p>
        </div>
        <div>
          <h3>Last firing</h3>
          {last?.Moment || last?.At ? (
            <Pairs of={[
              ["scheduled", last.Moment ? local(last.Moment) : "–"],
              ["fired", last.At ? <>{local(last.At)}{last.Moment !== null && last.At - last.Moment > 1 && <span className="soft"> {span(last.At - last.Moment)} later</span>}</> : "–"],
              ["result", <Outcome key="result" last={last} />],
              ...(last.RequestId ? [["execution", <Link key="request" className="mono" to={paths.trace(last.RequestId)}>{last.RequestId}</Link>] as [string, ReactNode]] : []),
            ]} />
          ) : <p className="soft">It has not fired yet.</p>}
        </div>
        <Pairs of={[
          ["when", <span key="when" className="mono">{row.Expression}</span>],
          ["time zone", row.Timezone],
          ...(row.WindowMinutes ? [["window", `${row.WindowMinutes} min`] as [string, ReactNode]] : []),
          [row.Targets.length > 1 ? "targets" : "target", <span key="targets" className="things">{row.Targets.length ? row.Targets.map((each) => <Thing key={each} of={each} />) : "none: nothing is called"}</span>],
          ["kind", row.Kind === "rule" ? "rule of a bus" : "schedule"],
        ]} />
      </div>
    </Sheet>
  );
}

export default function Schedules() {
  const { query: asked } = useRoute();
  const words = asked.get("q") ?? "";
  const chosen = asked.get("arn") ?? "";
  const { items, more, error, again } = usePages<ScheduleRow>("platform/schedules?MaxItems=200", "Schedules", MOST, 10);
  const [sort, setSort] = useState({ id: "next", down: false });
  const now = useNow();
    const aside = Boolean(chosen);
  const table = useMemo(() => columns(now).filter((column) => !aside || (column.id !== "target" && column.id !== "zone")), [now, aside]);
  const rows = useMemo(() => {
    const all = words.toLowerCase().split(/\s+/).filter(Boolean);
    const fitting = (items ?? []).filter((row) => all.every((word) => `${row.Kind} ${named(row)} ${row.Expression} ${row.Timezone} ${row.Targets.join(" ")} ${row.State}`.toLowerCase().includes(word)));
    return sorted(fitting, table, sort);
  }, [items, words, sort, table]);
  if (refused(error)) return <NotAllowed what="forerun:GetSchedules" />;
  if (error && !items) return <Trouble error={error} again={again} />;
  if (!items) return <p className="wait">…</p>;
  if (!items.length)
    return (
      <Empty title="Nothing is called by the clock yet." command={`aws scheduler create-schedule --name nightly --schedule-expression "cron(0 3 * * ? *)" \\
  --schedule-expression-timezone ${ownZone()} --flexible-time-window Mode=OFF \\
  --target '{"Arn": "FUNCTION_ARN", "RoleArn": "ROLE_ARN"}'`}>
        Schedules of EventBridge Scheduler, and rules of buses that have one, appear here with their next firings.
      </Empty>
    );
  const one = rows.find((row) => row.Arn === chosen) ?? items.find((row) => row.Arn === chosen);
  const here = (arn: string) => `/events/schedules?${new URLSearchParams({ ...(words ? { q: words } : {}), ...(arn ? { arn } : {}) })}`;
  return (
    <div className={one ? "split" : ""} onKeyDown={(event) => event.key === "Escape" && one && !(event.target instanceof HTMLInputElement) && go(here(""))}>
      <Sheet title="Schedules" aside={<div className="row"><span className="soft">{words ? `${count(rows.length)} of ${count(items.length)}` : more ? `the first ${count(items.length)}` : count(items.length)}</span><Search value={words} onChange={(q) => setQuery({ q })} label="Filter schedules" /></div>}>
        <List about={words} label="Schedules" items={rows} columns={table} id={(row) => row.Arn} href={(row) => here(row.Arn)} height={32} sort={sort} onSort={setSort}
          empty={<Empty title="No schedule fits.">Nothing has “{words}” in its name, expression, time zone or target.</Empty>} />
      </Sheet>
      {one && <One row={one} now={now} close={here("")} />}
    </div>
  );
}
