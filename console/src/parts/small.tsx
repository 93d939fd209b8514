// Small things that every page shows: starts, sparks, troubles, emptiness.
import { type ReactNode } from "react";
import { STARTS, type Start } from "../api";
import { count, share } from "../format";
import { Link, paths } from "../route";

type Mix = Partial<Record<string, number>>;

const MEANING: Record<Start, string> = {
  warm: "had served it before",
  prewarmed: "prepared before anybody asked",
  preloaded: "prepared because an execution was likely to call it",
  pool: "taken from the warming pool",
  zygote: "forked for the call",
  cold: "an interpreter was started",
};

export function Starts({ mix }: { mix: Mix }) {
  const total = STARTS.reduce((sum, start) => sum + (mix[start] ?? 0), 0);
  const text = STARTS.filter((start) => mix[start]).map((start) => `${start} ${share((mix[start] ?? 0) / total)}`).join(", ");
  return (
    <div className="starts" role="img" aria-label={text ? `starts: ${text}` : "no starts"} title={text}>
      {STARTS.map((start) => mix[start] ? <i key={start} data-start={start} style={{ flexGrow: mix[start] ?? 0, flexBasis: 0 }} /> : null)}
    </div>
  );
}

export function StartLegend({ mix }: { mix: Mix }) {
  const total = STARTS.reduce((sum, start) => sum + (mix[start] ?? 0), 0);
  return (
    <div className="legend">
      {STARTS.filter((start) => mix[start]).map((start) => (
        <span key={start} title={MEANING[start]}>
          <i data-start={start} />
          {start} <span className="faint">{count(mix[start] ?? 0)} · {share((mix[start] ?? 0) / total)}</span>
        </span>
      ))}
    </div>
  );
}

export function StartName({ start }: { start: Start | null }) {
  if (!start) return <span className="faint">–</span>;
  return (
    <span className="legend" title={MEANING[start]}>
      <span><i data-start={start} />{start}</span>
    </span>
  );
}

/** Bars over time; what failed is red at the foot of its bar. */
export function Spark({ calls, errors, label, height = 22 }: { calls: number[]; errors?: number[]; label: string; height?: number }) {
  const top = Math.max(1, ...calls);
  const bars = (values: number[]) =>
    values.map((value, i) => {
      if (!value) return "";
      const h = Math.max(0.045, value / top);
      return `M${i} 1v${-h}h.78v${h}z`;
    }).join("");
  return (
    <svg className="spark" viewBox={`0 0 ${Math.max(1, calls.length)} 1`} preserveAspectRatio="none" role="img" aria-label={label} style={{ height }}>
      <path className="calls" d={bars(calls)} />
      {errors && <path className="errors" d={bars(errors)} />}
    </svg>
  );
}

export function Empty({ title, children, command }: { title: string; children?: ReactNode; command?: string }) {
  return (
    <div className="empty fade">
      <h3>{title}</h3>
      {children && <div>{children}</div>}
      {command && <pre className="mono">{command}</pre>}
    </div>
  );
}

export function Trouble({ error, again }: { error: Error; again?: () => void }) {
  return (
    <div className="trouble" role="alert">
      <span>{error.message}</span>
      {again && <button type="button" className="btn" onClick={again}>Try again</button>}
    </div>
  );
}

export function Sheet({ title, aside, children, className = "" }: { title: string; aside?: ReactNode; children: ReactNode; className?: string }) {
  return (
    <section className={`sheet ${className}`} aria-label={title}>
      <header>
        <h2>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

export function Fact({ name, children, hint }: { name: string; children: ReactNode; hint?: string }) {
  return (
    <div className="fact" title={hint}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function StatusTag({ status, type }: { status: string; type?: string | null }) {
  if (status === "success" || status === "ok") return <span className="soft">ok</span>;
  if (status === "declined" || status === "duplicate") return <span className="soft" title="not run">{status}</span>;
  return <span className={status === "throttled" || status === "throttle" ? "tag warn" : "tag bad"}>{type ?? status}</span>;
}

export const FunctionLink = ({ name }: { name: string }) => <Link to={paths.function(name)} className="strong">{name}</Link>;

export function Search({ value, onChange, label, width }: { value: string; onChange: (text: string) => void; label: string; width?: number }) {
  return (
    <div className="field">
      <input type="search" data-search aria-label={label} placeholder={label} value={value} spellCheck={false}
        onChange={(event) => onChange(event.target.value)} {...(width ? { style: { width } } : {})}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            if (value) onChange("");
            else event.currentTarget.blur();
          } else if (event.key === "ArrowDown" || event.key === "Enter") {
            event.preventDefault();
            document.querySelector<HTMLElement>("[data-list]")?.focus();
          }
        }} />
      {!value && <kbd aria-hidden="true">/</kbd>}
    </div>
  );
}
