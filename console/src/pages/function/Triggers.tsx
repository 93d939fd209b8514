// What has a function run: sources of events, schedules and metaevents.
import { query, useData } from "../../client";
import { ahead, called, places, useNow, type MetaeventRow, type ScheduleRow, type SourceRow } from "../../events";
import { count } from "../../format";
import { Sheet } from "../../parts/small";
import { Link } from "../../route";

const SHOWN = 12;

interface Trigger {
  key: string;
  kind: string;
  name: string;
  to: string;
  says: string;
  off: boolean;
}

const ofSource = (row: SourceRow): Trigger => {
  const { kind, name } = called(row.Source);
  return {
    key: `${row.Kind} ${row.Source} ${row.Id}`, kind: row.Kind === "rule" ? "rule" : kind, name: row.Kind === "rule" ? row.Id : name,
    to: `${places.sources}?q=${encodeURIComponent(row.Kind === "rule" ? row.Id : name)}`,
    says: row.Waiting ? `${count(row.Waiting)} waiting` : "",
    off: row.State !== undefined && /^(disabled|disabling|trouble|pending)$/i.test(row.State),
  };
};

export function Triggers({ name, arn }: { name: string; arn: string }) {
  const { data: sources } = useData<{ Sources: SourceRow[] }>(query("platform/sources", { FunctionName: name }), 15);
  const { data: schedules } = useData<{ Schedules: ScheduleRow[]; NextMarker?: string }>(query("platform/schedules", { FunctionName: name }), 15);
  const { data: rules } = useData<{ Metaevents: MetaeventRow[] }>("platform/metaevents", 15);
  const now = useNow(5);
  const found: Trigger[] = [
    ...(sources?.Sources ?? []).map(ofSource),
    ...(schedules?.Schedules ?? []).map((row) => ({
      key: row.Arn, kind: row.Kind, name: row.Name, to: `${places.schedules}?arn=${encodeURIComponent(row.Arn)}`,
      says: row.Next[0] ? ahead(row.Next[0], now) : "", off: row.State === "DISABLED",
    })),
    ...(rules?.Metaevents ?? []).filter((row) => row.Job === arn || row.Job.startsWith(`${arn}:`)).map((row) => ({
      key: `metaevent ${row.Name}`, kind: "metaevent", name: row.Name, to: places.metaevent(row.Name),
      says: row.Held ? "holds" : "", off: !row.Enabled,
    })),
  ];
  if (!found.length && !sources && !schedules) return null;
  return (
    <Sheet title="What triggers it" aside={found.length > 0 ? <span className="tag">{count(found.length)}</span> : null}>
      <div className="body">
        {!found.length && <p className="soft">No event does: it runs when it is called.</p>}
        <ul className="triggers">
          {found.slice(0, SHOWN).map((each) => (
            <li key={each.key} className="row between">
              <span className="clip"><span className="faint">{each.kind}</span> <Link to={each.to} className="strong">{each.name}</Link></span>
              {each.off ? <span className="tag warn">off</span> : <span className="soft num">{each.says}</span>}
            </li>
          ))}
        </ul>
        {found.length > SHOWN && <p className="faint">and {count(found.length - SHOWN)} more, <Link to={`${places.sources}?q=${encodeURIComponent(name)}`}>among all sources</Link></p>}
      </div>
    </Sheet>
  );
}
