// What ARNs, states and firings look like on the pages of events.
import { useState, type ReactNode } from "react";
import { called, type ScheduleRow } from "../../events";
import { Empty, FunctionLink, StatusTag } from "../../parts/small";

/** What an ARN or URL names; a function leads to its page. */
export function Thing({ of, quiet = false }: { of: string | undefined; quiet?: boolean }) {
  if (!of) return <span className="faint">–</span>;
  const { kind, name, function: own } = called(of);
  return (
    <span title={of} className="thing">
      {kind && <span className="faint">{kind}</span>} {own && !quiet ? <FunctionLink name={own} /> : <span className={quiet ? "" : "strong"}>{name}</span>}
      {own && !quiet && name !== own && <span className="faint">{name.slice(own.length)}</span>}
    </span>
  );
}

const QUIET = /^(enabled|confirmed|watched|creating|updating|enabling)$/i;
const LOUD = /^(trouble|failed)$/i;

export function State({ of, reason }: { of: string | undefined; reason?: string | undefined }) {
  const problem = Boolean(reason && /^PROBLEM|^Problem/.test(reason));
  if (!of) return reason ? <span className="tag warn" title={reason}>{reason}</span> : <span className="faint">–</span>;
  const look = problem || LOUD.test(of) ? "tag bad" : QUIET.test(of) ? "soft" : "tag warn";
  return <span className={look} title={reason || undefined}>{of.toLowerCase()}</span>;
}

/** What came of a schedule's last firing. */
export function Outcome({ last }: { last: ScheduleRow["Last"] }) {
  if (!last || (!last.Status && !last.Outcome)) return <span className="faint">never yet</span>;
  if (last.Status) return <StatusTag status={last.Status} />;
  return <span className={last.Outcome === "sent" ? "soft" : "tag bad"}>{last.Outcome}</span>;
}

/** Chips that narrow a list, one of them pressed. */
export function Chips({ label, of, chosen, choose }: { label: string; of: [string, string, number][]; chosen: string; choose: (value: string) => void }) {
  return (
    <div className="row chips" role="group" aria-label={label}>
      {of.map(([value, title, n]) => (
        <button key={value} type="button" className="btn" aria-pressed={value === chosen} onClick={() => choose(value)}>{title} <span className="faint">{n}</span></button>
      ))}
    </div>
  );
}

/** Text that is copied by one press. */
export function Block({ children, label }: { children: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(children);
    setCopied(true);
  };
  return (
    <div className="block">
      <pre className="mono" tabIndex={0} role="region" aria-label={label}>{children}</pre>
      {window.isSecureContext && <button type="button" className="btn" onClick={() => void copy().catch(() => undefined)}>{copied ? "Copied" : "Copy"}</button>}
    </div>
  );
}

export const NotAllowed = ({ what }: { what: string }) => (
  <Empty title="You may not see this.">The key that you signed in with lacks the right to <span className="mono">{what}</span>.</Empty>
);

/** Lines of names and values. */
export function Pairs({ of }: { of: [string, ReactNode][] }) {
  return <dl className="pairs wide">{of.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}
