// What nobody could process: why, with what in it, to be sent again or forgotten.
import { useMemo, useState } from "react";
import { query } from "../../client";
import { brief, local, refused, useNow, usePages, type Letter } from "../../events";
import { ago, count } from "../../format";
import { List, type Column } from "../../parts/List";
import { Empty, Search, Sheet, Trouble } from "../../parts/small";
import { go, setQuery, useRoute } from "../../route";
import { LetterView } from "./Letter";
import { Act, type Wish } from "./Redrive";
import { NotAllowed, Thing } from "./Words";

const PAGE = 1000;
const MOST = 10_000;
const REASONS = ["RetriesExhausted", "EventAgeExceeded", "RecursionDetected", "NotFound", "AccessDenied", "InvalidInput", "RequestTooLarge"];

const columns = (now: number, chosen: Set<string>, toggle: (id: string) => void): Column<Letter>[] => [
  { id: "chosen", title: "", width: "18px", cell: (row) => (
    <input type="checkbox" tabIndex={-1} aria-label={`Choose ${row.Id}`} checked={chosen.has(row.Id)}
      onChange={(event) => {
        toggle(row.Id);
        // When the list knows which line it is on: arrows go on from here.
        const list = event.currentTarget.closest<HTMLElement>("[data-list]");
        window.setTimeout(() => list?.focus());
      }} />
  ) },
  { id: "failed", title: "Failed", width: "70px", cell: (row) => <span className="soft" title={local(row.FailedAt)}>{ago(row.FailedAt, now)} ago</span> },
  { id: "target", title: "For", width: "minmax(130px, 1.2fr)", cell: (row) => <Thing of={row.Target} /> },
  { id: "reason", title: "Reason", width: "136px", cell: (row) => <span className="tag bad">{row.Reason}</span> },
  { id: "detail", title: "What was said", width: "minmax(160px, 2.4fr)", cell: (row) => <span title={row.Detail}>{brief(row.Detail)}</span> },
  { id: "tries", title: "Tries", width: "44px", num: true, cell: (row) => <span className="soft">{row.Attempts}</span> },
  { id: "source", title: "From", width: "minmax(110px, 1fr)", cell: (row) => row.Source ? <Thing of={row.Source} quiet /> : <span className="faint">an invocation</span> },
  { id: "shelf", title: "Kept by", width: "minmax(70px, 0.7fr)", cell: (row) => row.Shelf === "platform" ? <span className="faint">platform</span> : <Thing of={row.Shelf} quiet /> },
];

export default function DeadLetters() {
  const { query: asked } = useRoute();
  const target = asked.get("target") ?? "";
  const reason = asked.get("reason") ?? "";
  const id = asked.get("id") ?? "";
  const [most, setMost] = useState(PAGE);
  const path = query("platform/dead-letters", { MaxItems: PAGE, Target: target, Reason: reason });
  const { items, more, error, again } = usePages<Letter>(path, "DeadLetters", most, most > PAGE ? 0 : 5);
  const [marked, setMarked] = useState<Set<string>>(new Set());
  const [act, setAct] = useState<{ what: "redrive" | "delete"; wish: Wish }>();
  const [said, setSaid] = useState("");
  const now = useNow(5);
  // What went meanwhile is chosen no more.
  const chosen = useMemo(() => new Set((items ?? []).map((row) => row.Id).filter((each) => marked.has(each))), [items, marked]);
  const toggle = (each: string) => setMarked((old) => {
    const made = new Set(old);
    if (!made.delete(each)) made.add(each);
    return made;
  });
  const table = useMemo(() => columns(now, chosen, toggle), [now, chosen]);
  const reasons = useMemo(() => [...new Set([...REASONS, ...(items ?? []).map((row) => row.Reason), ...(reason ? [reason] : [])])].sort(), [items, reason]);
  if (refused(error)) return <NotAllowed what="forerun:GetDeadLetters" />;
  if (error && !items) return <Trouble error={error} again={again} />;
  const filtered = Boolean(target || reason);
  const here = (letter: string) => `/events/dead-letters?${new URLSearchParams({ ...(target ? { target } : {}), ...(reason ? { reason } : {}), ...(letter ? { id: letter } : {}) })}`;
  const rows = items ?? [];
  const some = chosen.size > 0;
  const wish: Wish = some
    ? { ids: [...chosen], says: chosen.size === 1 ? "the chosen dead letter" : `the ${count(chosen.size)} chosen dead letters` }
    : { filter: { All: !filtered, Target: target, Reason: reason }, says: filtered ? `all dead letters${reason ? ` with ${reason}` : ""}${target ? ` for ${target}` : ""}` : "all dead letters" };
  const done = (text: string) => {
    setSaid(text);
    setMarked(new Set());
    setMost(PAGE);
    if (id) go(here(""), { replace: true });
    again();
  };
  const tools = (
    <div className="row wrap tools">
      <select aria-label="Reason" value={reason} onChange={(event) => setQuery({ reason: event.target.value })}>
        <option value="">for any reason</option>
        {reasons.map((each) => <option key={each} value={each}>{each}</option>)}
      </select>
      <Search value={target} onChange={(value) => setQuery({ target: value.trim() })} label="Function, queue, ARN or URL" />
    </div>
  );
  return (
    <>
      {said && <p className="said" role="status">{said} <button type="button" className="btn" onClick={() => setSaid("")}>Hide</button></p>}
      <div className={id ? "split" : ""} onKeyDown={(event) => event.key === "Escape" && id && !act && !(event.target instanceof HTMLInputElement) && go(here(""))}>
        <Sheet title="Dead letters" aside={tools}>
          {rows.length > 0 && (
            <div className="row wrap bar">
              <label className="check"><input type="checkbox" checked={rows.length > 0 && chosen.size === rows.length} onChange={(event) => setMarked(new Set(event.target.checked ? rows.map((row) => row.Id) : []))} />
                {some ? `${count(chosen.size)} chosen` : more ? `the first ${count(rows.length)}, oldest first` : `${count(rows.length)}, oldest first`}</label>
              <button type="button" className="btn" onClick={() => setAct({ what: "redrive", wish })}>{some ? "Send again…" : "Send all again…"}</button>
              <button type="button" className="btn" onClick={() => setAct({ what: "delete", wish })}>{some ? "Delete…" : "Delete all…"}</button>
            </div>
          )}
          {!items ? <p className="wait">…</p> : (
            <List about={path} label="Dead letters" items={rows} columns={table} id={(row) => row.Id} href={(row) => here(row.Id)} height={32}
              onKey={(key, row) => (key === " " || key === "x") && (toggle(row.Id), true)}
              {...(more && most < MOST ? { onEnd: () => setMost((n) => (items.length >= n ? n + PAGE : n)) } : {})}
              empty={filtered
                ? <Empty title="No dead letter fits.">A target is named in full: the name of a function or queue, an ARN, or a URL.</Empty>
                : <Empty title="There are no dead letters." command={"forerun dead-letters list\nforerun dead-letters redrive ID --memory 1024 --timeout 300"}>What nobody could process is kept here with its reason, until it is sent again or deleted. The command line does the same.</Empty>} />
          )}
        </Sheet>
        {id && <LetterView key={id} id={id} close={here("")} act={(what) => setAct({ what, wish: { ids: [id], says: "this dead letter" } })} />}
      </div>
      {act && <Act {...act} close={() => setAct(undefined)} done={done} />}
    </>
  );
}
