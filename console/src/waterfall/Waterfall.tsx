// A trace over time: one row for each span, the bars in one drawing; zoomed by wheel, drag and keys.
import { useEffect, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent, type ReactNode } from "react";
import type { Trace, TraceNode } from "../api";
import { ms } from "../format";
import { criticalPath, isExecution, rowsOf, shifted, ticks, zoomed, type Row, type Window } from "./rows";
import "../style/waterfall.css";

export const ROW = 26;
const SPARE = 12;

interface Props {
  trace: Trace;
  chosen: string | null;
  choose: (key: string) => void;
  /** What is shown below a row, of a height in pixels. */
  below: Map<string, { height: number; content: ReactNode }>;
  toggleLogs: (row: Row) => void;
}

/** Whom a call was for, where its name does not say so. */
function target({ attributes, name }: TraceNode): string {
  const whom = String(attributes["faas.invoked_name"] ?? attributes["server.address"] ?? "");
  return name.includes(whom) ? "" : whom;
}

function bar(row: Row, trace: Trace, x: (seconds: number) => number, y: number, critical: boolean) {
  const { node } = row;
  const from = node.started - trace.started;
  const open = !node.ended;
  const to = open ? Math.max(from, trace.duration_ms / 1000) : node.ended - trace.started;
  const left = x(from);
  const width = Math.max(1.5, x(to) - left);
  const kind = isExecution(node) ? "execution" : node.name === "init" ? "init" : node.kind === "client" ? "call" : "inner";
  const thick = kind === "execution" ? 14 : kind === "call" ? 7 : 10;
  const bad = node.status === "fault" || node.status === "error";
  return (
    <g key={row.key} className={`bar ${kind}${bad ? " bad" : node.status === "throttle" ? " warn" : ""}${open ? " open" : ""}`}>
      <rect x={left} y={y + (ROW - thick) / 2} width={width} height={thick} rx={2.5} />
      {critical && <rect className="critical" x={left} y={y + ROW - 3.5} width={width} height={2} />}
    </g>
  );
}

export function Waterfall({ trace, chosen, choose, below, toggleLogs }: Props) {
  const whole = Math.max(trace.duration_ms / 1000, 1e-6);
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const [window_, setWindow] = useState<Window>({ from: 0, to: whole });
  const [view, setView] = useState({ top: 0, height: 700, width: 700 });
  const [cursor, setCursor] = useState<number | null>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<SVGSVGElement>(null);

  useEffect(() => setWindow({ from: 0, to: whole }), [whole]);
  const rows = useMemo(() => rowsOf(trace, folded), [trace, folded]);
  const critical = useMemo(() => criticalPath(trace), [trace]);
  const tops = useMemo(() => {
    let y = 0;
    return rows.map((row) => {
      const top = y;
      y += ROW + (below.get(row.key)?.height ?? 0);
      return top;
    });
  }, [rows, below]);
  const lastTop = tops[tops.length - 1] ?? 0;
  const total = rows.length ? lastTop + ROW + (below.get(rows[rows.length - 1]?.key ?? "")?.height ?? 0) : 0;

  useLayoutEffect(() => {
    const element = box.current;
    const svg = plot.current;
    if (!element || !svg) return;
    const measure = () => setView((old) => ({ ...old, height: element.clientHeight, width: svg.clientWidth || 600 }));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const length = window_.to - window_.from;
  const x = (seconds: number) => ((seconds - window_.from) / length) * view.width;
  const seconds = (pixels: number) => window_.from + (pixels / view.width) * length;
  const left = () => plot.current?.getBoundingClientRect().left ?? 0;

  useEffect(() => {
    const element = box.current;
    const wheel = (event: WheelEvent) => {
      const inPlot = event.clientX >= left();
      if (!inPlot || (!event.ctrlKey && !event.metaKey && !event.shiftKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY))) return;
      event.preventDefault();
      setWindow((old) => {
        const span = old.to - old.from;
        if (event.ctrlKey || event.metaKey) return zoomed(old, Math.exp(-event.deltaY * 0.003), old.from + ((event.clientX - left()) / view.width) * span, whole);
        return shifted(old, ((event.deltaX || event.deltaY) / view.width) * span, whole);
      });
    };
    element?.addEventListener("wheel", wheel, { passive: false });
    return () => element?.removeEventListener("wheel", wheel);
  }, [view.width, whole]);

  const at = rows.findIndex((row) => row.key === chosen);
  const move = (to: number) => {
    const index = Math.max(0, Math.min(rows.length - 1, to));
    const row = rows[index];
    const element = box.current;
    if (!row || !element) return;
    choose(row.key);
    const y = tops[index] ?? 0;
    if (y < element.scrollTop) element.scrollTop = y;
    else if (y + ROW > element.scrollTop + element.clientHeight) element.scrollTop = y + ROW - element.clientHeight;
  };
  const fold = (row: Row, shut: boolean) =>
    setFolded((old) => {
      const next = new Set(old);
      if (shut) next.add(row.key);
      else next.delete(row.key);
      return next;
    });
  const key = (event: KeyboardEvent) => {
    if (event.metaKey || event.ctrlKey || event.altKey || event.target !== event.currentTarget) return;
    const row = rows[at];
    const middle = (window_.from + window_.to) / 2;
    const acts: Record<string, () => void> = {
      ArrowDown: () => move(at + 1), j: () => move(at + 1), ArrowUp: () => move(at < 0 ? 0 : at - 1), k: () => move(at < 0 ? 0 : at - 1),
      Home: () => move(0), End: () => move(rows.length - 1), PageDown: () => move(at + 15), PageUp: () => move(at - 15),
      "+": () => setWindow(zoomed(window_, 1.5, middle, whole)), "=": () => setWindow(zoomed(window_, 1.5, middle, whole)),
      "-": () => setWindow(zoomed(window_, 1 / 1.5, middle, whole)), "0": () => setWindow({ from: 0, to: whole }),
      ",": () => setWindow(shifted(window_, -length / 4, whole)), ".": () => setWindow(shifted(window_, length / 4, whole)),
      ArrowRight: () => row && (row.folded ? fold(row, false) : row.below && move(at + 1)),
      ArrowLeft: () => row && (row.below && !row.folded ? fold(row, true) : move(rows.slice(0, at).findLastIndex((each) => each.depth < row.depth))),
      Enter: () => row && toggleLogs(row),
    };
    const act = acts[event.key];
    if (!act) return;
    act();
    event.preventDefault();
  };

  const near = (event: PointerEvent) => seconds(Math.max(0, Math.min(view.width, event.clientX - left())));
  const down = (event: PointerEvent) => {
    if (event.button === 0) {
      plot.current?.setPointerCapture(event.pointerId);
      setDrag({ from: near(event), to: near(event) });
    }
  };
  const up = (event: PointerEvent) => {
    if (drag && Math.abs(x(drag.to) - x(drag.from)) > 6) setWindow({ from: Math.min(drag.from, drag.to), to: Math.max(drag.from, drag.to) });
    else if (drag) {
      const y = event.clientY - (plot.current?.getBoundingClientRect().top ?? 0);
      const index = tops.findLastIndex((top) => top <= y);
      if (index >= 0) move(index);
    }
    setDrag(null);
  };

  const first = Math.max(0, tops.findLastIndex((top) => top <= view.top) - SPARE);
  const end = tops.findIndex((top) => top > view.top + view.height);
  const shown = rows.slice(first, end < 0 ? rows.length : end + SPARE);
  const marks = ticks(window_, Math.max(2, view.width / 110));

  return (
    <div className="waterfall">
      <div className="axis" aria-hidden="true">
        <span>{rows.length} rows{length < whole * 0.999 && <button type="button" className="btn" onClick={() => setWindow({ from: 0, to: whole })}>whole trace</button>}</span>
        <div>
          {marks.filter((mark) => x(mark) < view.width - 44).map((mark) => <i key={mark} style={{ left: `${((mark - window_.from) / length) * 100}%` }}>{ms(mark * 1000)}</i>)}
          {cursor !== null && <b style={{ left: `${((cursor - window_.from) / length) * 100}%` }}>{ms(cursor * 1000)}</b>}
        </div>
      </div>
      <div ref={box} className="rows" role="tree" aria-label="Spans of the trace" tabIndex={0} data-list onKeyDown={key}
        onFocus={(event) => event.target === event.currentTarget && at < 0 && move(0)}
        {...(at >= 0 ? { "aria-activedescendant": `span-${at}` } : {})}
        onScroll={(event) => { const { scrollTop } = event.currentTarget; setView((old) => ({ ...old, top: scrollTop })); }}>
        <div className="names" style={{ height: total }}>
          {shown.map((row, offset) => {
            const index = first + offset;
            const { node } = row;
            const extra = below.get(row.key);
            return (
              <div key={row.key} style={{ position: "absolute", top: tops[index] ?? 0, left: 0, right: 0 }}>
                <div id={`span-${index}`} role="treeitem" aria-level={row.depth + 1} aria-selected={index === at} data-span={node.span_id} data-kind={isExecution(node) ? "execution" : node.kind}
                  {...(row.below ? { "aria-expanded": !row.folded } : {})}
                  aria-label={`${node.name}, ${ms(node.duration_ms)}${node.status === "ok" ? "" : `, ${node.status}`}`}
                  className={`span${index === at ? " active" : ""}${isExecution(node) ? " execution" : ""}`} style={{ height: ROW }} onClick={() => choose(row.key)} onDoubleClick={() => toggleLogs(row)}>
                  <span className="label" style={{ paddingLeft: 10 + row.depth * 15 }}>
                    {row.below ? (
                      <button type="button" className="fold" tabIndex={-1} aria-label={row.folded ? "Unfold" : "Fold"} onClick={(event) => { event.stopPropagation(); fold(row, !row.folded); }}>{row.folded ? "▸" : "▾"}</button>
                    ) : <span className="fold" />}
                    <span className="clip name">{node.name}{node.kind === "client" && <span className="faint"> {target(node)}</span>}</span>
                    {node.caused_by && <span className="faint" title="through somebody who did not report a span">⤳</span>}
                    {node.source !== "forerun" && node.source && <span className="tag">{node.source}</span>}
                    {node.attributes["forerun.start_type"] && isExecution(node) && <i className="dot" data-start={String(node.attributes["forerun.start_type"])} title={String(node.attributes["forerun.start_type"])} />}
                    {row.folded && <span className="faint">+{row.below}</span>}
                    {node.cut > 0 && <span className="warn">{node.cut} not shown</span>}
                  </span>
                  <span className={node.status === "ok" ? "took" : "took bad"}>{node.duration_ms === null ? "open" : ms(node.duration_ms)}</span>
                </div>
                {extra && <div className="under" style={{ height: extra.height }}>{extra.content}</div>}
              </div>
            );
          })}
          <svg ref={plot} className="plot" height={total} onPointerDown={down} onPointerUp={up}
            onPointerMove={(event) => { const to = near(event); setCursor(to); if (drag) setDrag({ from: drag.from, to }); }} onPointerLeave={() => setCursor(null)}>
            {marks.map((mark) => <line key={mark} className="tick" x1={x(mark)} x2={x(mark)} y1={0} y2={total} />)}
            {shown.map((row, offset) => bar(row, trace, x, tops[first + offset] ?? 0, critical.has(row.key)))}
            {drag && <rect className="chosen" x={Math.min(x(drag.from), x(drag.to))} width={Math.abs(x(drag.to) - x(drag.from))} y={0} height={total} />}
            {cursor !== null && <line className="cursor" x1={x(cursor)} x2={x(cursor)} y1={0} y2={total} />}
          </svg>
        </div>
      </div>
    </div>
  );
}
