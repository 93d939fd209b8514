// What happens now: calls as they end, and what they wrote.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { TailEvent } from "../api";
import { query, useStream } from "../client";
import { clock, count, ms } from "../format";
import { tone } from "../parts/LogLines";
import { Empty, FunctionLink, Search, Sheet, StartName, StatusTag } from "../parts/small";
import { Link, paths } from "../route";
import { monitored, traceOf } from "./function/Invocations";
import "../style/live.css";

const MOST = 1500;
const SHOWN = 500;

function Line({ event }: { event: TailEvent }) {
  if (event.what === "note") return <div className="event note"><time>{clock(event.at)}</time><p className="warn">{event.text}</p></div>;
  if (event.what === "log")
    return (
      <div className={`event text ${tone(event.text)}`}>
        <time>{clock(event.at)}</time>
        <span className="clip faint">{event.name}</span>
        <p>{event.text.trimEnd()}</p>
      </div>
    );
  const id = traceOf(event.trace_id);
  return (
    <div className="event call" data-request={event.request_id}>
      <time>{clock(event.at)}</time>
      <span className="clip"><FunctionLink name={event.name} /></span>
      <span className="row" style={{ gap: 14 }}>
        <span className="num" style={{ width: 68 }}>{ms(event.duration_ms)}</span>
        <span style={{ width: 92 }}><StartName start={event.start_type} /></span>
        <StatusTag status={event.status} type={event.error_type} />
        {event.version !== "$LATEST" && <span className="tag">{event.version}</span>}
        <span className="mono faint">{event.request_id.slice(0, 8)}</span>
        {id && monitored(event.trace_id) && <Link to={paths.trace(id)} className="faint">trace</Link>}
      </span>
    </div>
  );
}

export default function Live() {
  const [events, setEvents] = useState<TailEvent[]>([]);
  const [paused, setPaused] = useState(false);
  const [held, setHeld] = useState(0);
  const [filter, setFilter] = useState("");
  const [show, setShow] = useState({ call: true, log: true, frame: false });
  const waiting = useRef<TailEvent[]>([]);
  const stopped = useRef(false);
  const box = useRef<HTMLDivElement>(null);
  stopped.current = paused;

  const open = useStream<TailEvent[]>(query("tail", {}), (batch) => {
    waiting.current.push(...batch);
    if (waiting.current.length > MOST) waiting.current.splice(0, waiting.current.length - MOST);
    if (stopped.current) setHeld(waiting.current.length);
    else {
      const fresh = waiting.current;
      waiting.current = [];
      setEvents((old) => [...old, ...fresh].slice(-MOST));
    }
  });
  const toggle = () => {
    setPaused((old) => !old);
    setHeld(0);
    setEvents((old) => [...old, ...waiting.current.splice(0)].slice(-MOST));
  };
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key !== " " || (event.target as HTMLElement).closest("input,button,select,a")) return;
      event.preventDefault();
      toggle();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  });

  const shown = useMemo(() => {
    const words = filter.toLowerCase();
    return events.filter((event) => {
      if (event.what === "note") return true;
      if (!show[event.what]) return false;
      if (event.what === "log" && !show.frame && tone(event.text) === "quiet") return false;
      if (!words) return true;
      const text = event.what === "log" ? `${event.name} ${event.text}` : `${event.name} ${event.status} ${event.error_type ?? ""} ${event.start_type ?? ""} ${event.request_id}`;
      return text.toLowerCase().includes(words);
    }).slice(-SHOWN);
  }, [events, filter, show]);
  useLayoutEffect(() => {
    if (!paused && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown, paused]);

  return (
    <Sheet title="Live" aside={
      <div className="row">
        <Search value={filter} onChange={setFilter} label="Filter by function or text" />
        <label className="check"><input type="checkbox" checked={show.call} onChange={(event) => setShow({ ...show, call: event.target.checked })} />calls</label>
        <label className="check"><input type="checkbox" checked={show.log} onChange={(event) => setShow({ ...show, log: event.target.checked })} />logs</label>
        <label className="check" title="START, END and REPORT"><input type="checkbox" checked={show.frame} onChange={(event) => setShow({ ...show, frame: event.target.checked })} />platform’s lines</label>
        <button type="button" className="btn" aria-pressed={paused} onClick={toggle}>{paused ? `Go on${held ? ` (${count(held)})` : ""}` : "Pause"}</button>
        <button type="button" className="btn" onClick={() => setEvents([])}>Clear</button>
        <span className="pulse-dot" data-on={open && !paused} role="img" aria-label={open ? "connected" : "not connected"} />
      </div>}>
      <h1 className="vh">Live</h1>
      <div ref={box} data-list className="tail" role="log" aria-label="Calls and log lines" aria-live="off" tabIndex={0}>
        {shown.length === 0 && (
          <Empty title={open ? "Nothing has happened since you came." : "Connecting…"} {...(open && !events.length ? { command: "forerun invoke NAME" } : {})}>
            {events.length ? "No event fits the filter." : "Calls and the lines they write appear here when they end."}
          </Empty>
        )}
        {shown.map((event, i) => <Line key={events.length - shown.length + i} event={event} />)}
      </div>
    </Sheet>
  );
}
