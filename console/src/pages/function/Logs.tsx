// What a function wrote, newest last; a filter as CloudWatch has it; follows what comes.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { LogEvent, LogPage } from "../../api";
import { ask, query } from "../../client";
import { Empty, Search, Sheet, Trouble } from "../../parts/small";
import { LogLines, tone } from "../../parts/LogLines";

const MOST = 3000;
const RANGES: [string, number][] = [["15 minutes", 900], ["1 hour", 3600], ["6 hours", 21_600], ["24 hours", 86_400], ["14 days", 1_209_600]];

export function Logs({ name }: { name: string }) {
  const [filter, setFilter] = useState("");
  const [asked, setAsked] = useState("");
  const [seconds, setSeconds] = useState(3600);
  const [lines, setLines] = useState<LogEvent[]>();
  const [error, setError] = useState<Error>();
  const [follow, setFollow] = useState(true);
  const [frame, setFrame] = useState(true);
  const shown = useMemo(() => (frame ? lines : lines?.filter((line) => tone(line.text) !== "quiet")) ?? [], [lines, frame]);
  const box = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const timer = window.setTimeout(() => setAsked(filter), 300);
    return () => window.clearTimeout(timer);
  }, [filter]);

  useEffect(() => {
    let ended = false;
    let timer = 0;
    let token: string | null = null;
    const start = Math.floor(Date.now() / 1000 - seconds);
    setLines(undefined);
    const load = async () => {
      try {
        let page: LogPage;
        do {
          page = await ask<LogPage>(query("logs", { name, start, filter: asked, after: token ?? undefined }));
          if (ended) return;
          const fresh = page.events;
          token = page.next ?? token;
          setLines((old) => (fresh.length || !old ? [...(old ?? []), ...fresh].slice(-MOST) : old));
        } while (page.events.length >= 1000);
        setError(undefined);
      } catch (problem) {
        if (!ended) setError(problem as Error);
      }
      if (!ended) timer = window.setTimeout(load, 1500);
    };
    void load();
    return () => {
      ended = true;
      window.clearTimeout(timer);
    };
  }, [name, asked, seconds]);

  useLayoutEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown, follow]);

  return (
    <Sheet title="Logs" aside={
      <div className="row">
        <Search value={filter} onChange={setFilter} label="Filter: words, ?either ?or, -not" />
        <select aria-label="Time shown" value={seconds} onChange={(event) => setSeconds(Number(event.target.value))}>
          {RANGES.map(([label, value]) => <option key={value} value={value}>{label}</option>)}
        </select>
        <label className="check" title="START, END and REPORT"><input type="checkbox" checked={frame} onChange={(event) => setFrame(event.target.checked)} />platform’s lines</label>
        <label className="check"><input type="checkbox" checked={follow} onChange={(event) => setFollow(event.target.checked)} />follow</label>
      </div>}>
      {error && <div className="body"><Trouble error={error} /></div>}
      {lines?.length === 0 && <Empty title="Nothing was written.">{asked ? "No line fits the filter within this time." : "What the function prints appears here, and the START, END and REPORT lines of its calls."}</Empty>}
      <div ref={box} data-list style={{ height: "calc(100vh - 250px)", minHeight: 200 }} className="logs" tabIndex={0} role="log" aria-label={`Log of ${name}`}
        onScroll={(event) => {
          const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
          if (follow && scrollTop + clientHeight < scrollHeight - 60) setFollow(false);
        }}>
        <LogLines lines={shown} />
      </div>
    </Sheet>
  );
}
