// Rules over what the platform knows of itself: whether they hold, when they fired, when time alone may change that.
import { useMemo, useState } from "react";
import { useData } from "../../client";
import { ahead, called, local, places, refused, useNow, type MetaeventRow } from "../../events";
import { ago, count } from "../../format";
import { List, sorted, type Column } from "../../parts/List";
import { Empty, Search, Sheet, Trouble } from "../../parts/small";
import { Link, setQuery, useRoute } from "../../route";
import { Edit } from "./Edit";
import { NotAllowed, Thing } from "./Words";

export function Holding({ rule }: { rule: MetaeventRow }) {
  if (!rule.Enabled) return <span className="tag warn">disabled</span>;
  return rule.Held ? <span className="tag good">holds</span> : <span className="soft">does not hold</span>;
}

const columns = (now: number): Column<MetaeventRow>[] => [
  { id: "name", title: "Metaevent", width: "minmax(150px, 1.4fr)", by: (row) => row.Name, cell: (row) => <Link to={places.metaevent(row.Name)} className="name" tabIndex={-1}>{row.Name}</Link> },
  { id: "held", title: "Criteria", width: "100px", by: (row) => (row.Enabled ? (row.Held ? "0" : "1") : "2"), cell: (row) => <Holding rule={row} /> },
  { id: "job", title: "Runs", width: "minmax(120px, 1.1fr)", by: (row) => called(row.Job).name, cell: (row) => <Thing of={row.Job} /> },
  { id: "fired", title: "Fired", width: "60px", num: true, by: (row) => row.Fired, cell: (row) => <span className={row.Fired ? "" : "faint"}>{count(row.Fired)}</span> },
  { id: "last", title: "Last fired", width: "76px", num: true, by: (row) => row.FiredAt, cell: (row) => row.FiredAt ? <span className="soft" title={local(row.FiredAt)}>{ago(row.FiredAt, now)} ago</span> : <span className="faint">–</span> },
  { id: "refused", title: "Refused", width: "64px", num: true, by: (row) => row.Refused, hint: "criteria came to hold, and a bound kept the job from being run", cell: (row) => <span className={row.Refused ? "warn" : "faint"}>{count(row.Refused)}</span> },
  { id: "next", title: "Next timer", width: "104px", by: (row) => row.NextMoment ?? Infinity, hint: "when time alone may change what holds", cell: (row) => row.NextMoment ? <span title={local(row.NextMoment)}>{ahead(row.NextMoment, now)}</span> : <span className="faint">–</span> },
  { id: "about", title: "Description", width: "minmax(120px, 1.8fr)", cell: (row) => <span className="soft" title={row.Description}>{row.Description}</span> },
];

export default function Metaevents() {
  const { query: asked } = useRoute();
  const words = asked.get("q") ?? "";
  const { data, error, again } = useData<{ Metaevents: MetaeventRow[] }>("platform/metaevents", 3);
  const [sort, setSort] = useState({ id: "name", down: false });
  const now = useNow();
  const table = useMemo(() => columns(now), [now]);
  const rows = useMemo(() => {
    const all = words.toLowerCase().split(/\s+/).filter(Boolean);
    return sorted((data?.Metaevents ?? []).filter((row) => all.every((word) => `${row.Name} ${row.Job} ${row.Description}`.toLowerCase().includes(word))), table, sort);
  }, [data, words, sort, table]);
  if (refused(error)) return <NotAllowed what="forerun:GetMetaevents" />;
  if (error && !data) return <Trouble error={error} again={again} />;
  if (!data) return <p className="wait">…</p>;
  if (asked.get("new")) return <Edit />;
  const make = <Link to={`${places.metaevents}?new=1`} className="btn">New…</Link>;
  if (!data.Metaevents.length)
    return (
      <Empty title="No rule watches the platform yet." command="forerun metaevents put watchdog --absent backup --within 24h --run alarm">
        A metaevent runs a function because of what the platform sees, or does not see: here “alarm”, when “backup” has not run for a day. {make}
      </Empty>
    );
  return (
    <Sheet title="Metaevents" aside={<div className="row"><Search value={words} onChange={(q) => setQuery({ q })} label="Filter metaevents" />{make}</div>}>
      <List about={words} label="Metaevents" items={rows} columns={table} id={(row) => row.Name} href={(row) => places.metaevent(row.Name)} height={32} sort={sort} onSort={setSort}
        empty={<Empty title="No metaevent fits.">Nothing has “{words}” in its name, job or description.</Empty>} />
    </Sheet>
  );
}
