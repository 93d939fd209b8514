// One trace as a waterfall, with what is known of a span beside it and logs in place.
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { LogEvent, LogPage, Trace, TraceNode } from "../api";
import { ask, query, useData } from "../client";
import { count, moment, ms } from "../format";
import { LogLines } from "../parts/LogLines";
import { Empty, Fact, FunctionLink, StartName, StatusTag, Trouble } from "../parts/small";
import { Link, paths } from "../route";
import { isExecution, keyOf, type Row } from "../waterfall/rows";
import { Waterfall } from "../waterfall/Waterfall";
import type { Start } from "../api";
import "../style/function.css";

const AGAIN_MS = 1500;
const LINE = 19;
const MOST_HEIGHT = 260;

const text = (node: TraceNode, name: string) => String(node.attributes[name] ?? "");

function Detail({ trace, node, logs, toggle }: { trace: Trace; node: TraceNode | undefined; logs: boolean; toggle: () => void }) {
  if (!node) return <aside className="detail soft">Choose a span with the mouse or the arrow keys. Enter shows the log of an execution in its place.</aside>;
  const execution = isExecution(node);
  const known = Object.entries(node.attributes).filter(([name]) => !name.startsWith("forerun.step.") && name !== "faas.name");
  const steps = Object.entries(node.attributes).filter(([name]) => name.startsWith("forerun.step."));
  return (
    <aside className="detail" aria-label="The chosen span">
      <h2>{node.name}</h2>
      <p className="soft">{execution ? "execution" : `${node.kind} span`} of {execution || node.service ? <FunctionLink name={node.service} /> : "?"} <StatusTag status={node.status} type={text(node, "error.type") || null} /></p>
      <dl className="pairs" style={{ marginTop: 8 }}>
        <div><dt>began after</dt><dd>{ms((node.started - trace.started) * 1000)}</dd></div>
        <div><dt>took</dt><dd>{node.duration_ms === null ? "end not known" : ms(node.duration_ms)}</dd></div>
        {execution && <div><dt>start</dt><dd><StartName start={(text(node, "forerun.start_type") || null) as Start | null} /></dd></div>}
        {node.skew_ms !== 0 && <div><dt>moved, as clocks disagreed</dt><dd>{ms(node.skew_ms)}</dd></div>}
      </dl>
      {execution && <p style={{ marginTop: 8 }}><button type="button" className="btn" aria-pressed={logs} onClick={toggle}>{logs ? "Hide the log" : "Show the log"}</button></p>}
      {steps.length > 0 && (
        <dl className="attributes" aria-label="Steps">
          {steps.map(([name, value]) => <div key={name} className="row between"><dt>{name.slice(13, -3)}</dt><dd>{ms(Number(value))}</dd></div>)}
        </dl>
      )}
      <dl className="attributes">
        {known.map(([name, value]) => <div key={name} className="row between"><dt title={name}>{name.replace(/^forerun\./, "")}</dt><dd className="mono">{String(value)}</dd></div>)}
        <div className="row between"><dt>span</dt><dd className="mono">{node.span_id} {node.source}</dd></div>
      </dl>
    </aside>
  );
}

function index(trace: Trace): Map<string, TraceNode> {
  const found = new Map<string, TraceNode>();
  const visit = (node: TraceNode) => {
    found.set(keyOf(node), node);
    node.children.forEach(visit);
  };
  trace.roots.forEach(visit);
  return found;
}

/** The log lines of executions that were asked for, by the key of their span. */
function useLogs(trace: Trace | undefined) {
  const [lines, setLines] = useState<Map<string, LogEvent[] | null>>(new Map());
  const toggle = useCallback((node: TraceNode) => {
    const key = keyOf(node);
    if (!trace || !isExecution(node)) return;
    setLines((old) => {
      const next = new Map(old);
      if (!next.delete(key)) next.set(key, null);
      return next;
    });
    const request = text(node, "faas.invocation_id");
    const asked = query("logs", { name: node.service, request_id: request, start: node.started - 1, end: (node.ended || node.started + 900) + 2 });
    ask<LogPage>(asked).then(
      (page) => setLines((old) => (old.has(key) ? new Map(old).set(key, page.events) : old)),
      (problem: Error) => setLines((old) => (old.has(key) ? new Map(old).set(key, [{ at: node.started, name: node.service, text: problem.message }]) : old)),
    );
  }, [trace]);
  return { lines, toggle };
}

export default function TraceView({ id }: { id: string }) {
  const { data: trace, error, again } = useData<Trace>(query("platform/trace", { TraceId: id }));
  const [chosen, setChosen] = useState<string | null>(null);
  const tries = useRef(0);
  const nodes = useMemo(() => (trace ? index(trace) : new Map<string, TraceNode>()), [trace]);
  const { lines, toggle } = useLogs(trace);

  // It may have ended a moment ago, or still go on: what it caused arrives later.
  const young = trace ? Date.now() / 1000 - trace.started < 20 : error !== undefined;
  useEffect(() => {
    if (!young || tries.current >= 6) return;
    const timer = window.setTimeout(() => {
      tries.current += 1;
      again();
    }, AGAIN_MS);
    return () => window.clearTimeout(timer);
  }, [young, trace, error, again]);

  const below = useMemo(() => new Map([...lines].map(([key, events]) => {
    const wrapped = (events ?? []).reduce((sum, each) => sum + each.text.trimEnd().split("\n").reduce((n, line) => n + Math.max(1, Math.ceil((line.length + 5 * (line.split("\t").length - 1)) / 92)), 0), 0);
    const height = events?.length ? Math.min(MOST_HEIGHT, wrapped * LINE + 18) : 38;
    const content = events === null ? <p className="faint" style={{ padding: 9 }}>…</p> : events.length === 0 ? <p className="faint" style={{ padding: 9 }}>It wrote nothing, or its log is no longer kept.</p>
      : <div className="logs"><LogLines lines={events} /></div>;
    return [key, { height, content }] as const;
  })), [lines]);

  if (!trace)
    return error ? (
      <div className="stack"><Trouble error={error} again={again} /><Empty title="The trace is not here."><Link to={paths.traces}>To the traces</Link></Empty></div>
    ) : <p className="wait">…</p>;
  const node = chosen ? nodes.get(chosen) : undefined;
  return (
    <div className="stack">
      <div className="row between wrap" style={{ alignItems: "flex-end" }}>
        <div>
          <h1>{trace.roots[0]?.name ?? "Trace"}</h1>
          <p className="soft">{moment(trace.started)} · <span className="mono">{trace.trace_id}</span></p>
        </div>
        <dl className="facts">
          <Fact name="Took">{ms(trace.duration_ms)}</Fact>
          <Fact name="Executions">{count(trace.executions)}</Fact>
          <Fact name="Spans">{count(trace.spans)}</Fact>
          <Fact name="Functions">{count(trace.functions.length)}</Fact>
          <Fact name="Result"><StatusTag status={trace.status} /></Fact>
        </dl>
      </div>
      {(trace.cut > 0 || trace.circles > 0) && (
        <p className="warn">{trace.cut > 0 && `${count(trace.cut)} spans are not shown: the trace is too deep or too large. `}{trace.circles > 0 && "Some spans name each other as parents; that was not believed."}</p>
      )}
      <section className="sheet" aria-label="Waterfall">
        <header>
          <div className="legend">
            <span><i style={{ background: "var(--accent)" }} />execution</span>
            <span><i style={{ background: "var(--cold)" }} />init</span>
            <span><i style={{ background: "var(--bar-2)" }} />call</span>
            <span><i style={{ background: "var(--bad)" }} />failed</span>
            <span><i style={{ background: "var(--ink)", height: 2, verticalAlign: 3 }} />waited for</span>
          </div>
          <span className="faint">drag to zoom · <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> · <kbd>Enter</kbd> log</span>
        </header>
        <div className="trace">
          <Waterfall trace={trace} chosen={chosen} choose={setChosen} below={below} toggleLogs={(row: Row) => toggle(row.node)} />
          <Detail trace={trace} node={node} logs={chosen !== null && lines.has(chosen)} toggle={() => node && toggle(node)} />
        </div>
      </section>
    </div>
  );
}
