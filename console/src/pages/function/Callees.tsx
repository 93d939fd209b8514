// Whom a function calls: how likely, when within the execution, how long; and what executions wait for.
import type { Callee, Profile } from "../../api";
import { count, ms, share } from "../../format";
import { FunctionLink } from "../../parts/small";

function Likely({ callee }: { callee: Callee }) {
  const { value, low, high } = callee.likelihood;
  const text = `${share(value)}, with 95 % certainty between ${share(low)} and ${share(high)}; ${count(callee.sampled)} executions seen`;
  return (
    <div className="likely" title={text} role="img" aria-label={text}>
      <i className="range" style={{ left: `${low * 100}%`, width: `${Math.max(0.5, (high - low) * 100)}%` }} />
      <i className="value" style={{ width: `${value * 100}%` }} />
    </div>
  );
}

/** Where in an execution of so many milliseconds the call lies, at the median. */
function Place({ callee, total }: { callee: Callee; total: number }) {
  const start = Math.min(0.97, callee.delay_ms.p50 / total);
  const width = Math.min(1 - start, Math.max(0.02, callee.latency_ms.p50 / total));
  return <div className="placed" aria-hidden="true"><i style={{ left: `${start * 100}%`, width: `${width * 100}%` }} /></div>;
}

const remarks = (callee: Callee): string[] => [
  ...(callee.via ? [`through ${callee.via}`] : []),
  ...(callee.asynchronous > callee.calls * 0.5 ? ["as an event"] : []),
  ...(callee.retries > 0 ? [`${count(callee.retries)} retries`] : []),
  ...(callee.throttles > 0 ? [`${count(callee.throttles)} throttled`] : []),
  ...(callee.unfinished > 0 ? [`${count(callee.unfinished)} unfinished`] : []),
];

export function Callees({ profile }: { profile: Profile }) {
  const callees = [...profile.callees].sort((a, b) => a.position - b.position || b.likelihood.value - a.likelihood.value);
  const total = Math.max(1, profile.duration_ms.p50, ...callees.map((each) => each.delay_ms.p50 + each.latency_ms.p50));
  return (
    <div style={{ overflowX: "auto" }}>
      <table className="table">
        <caption className="vh">Callees</caption>
        <thead>
          <tr>
            <th>Callee</th><th>Likelihood</th><th className="num">Calls</th><th style={{ width: "18%" }}>Within the execution</th>
            <th className="num">Starts at</th><th className="num">p50</th><th className="num">p95</th><th className="num">Errors</th>
          </tr>
        </thead>
        <tbody>
          {callees.map((each) => (
            <tr key={`${each.kind}:${each.name}:${each.via}`}>
              <td>
                {each.kind === "function" && !each.name.includes(":") ? <FunctionLink name={each.name} /> : <span className="strong">{each.name}</span>}
                {remarks(each).length > 0 && <div className="faint">{remarks(each).join(" · ")}</div>}
                {each.kind === "service" && <div className="faint clip" style={{ maxWidth: 260 }}>{Object.keys(each.operations).slice(0, 3).join(", ")}</div>}
              </td>
              <td style={{ minWidth: 110 }}><div className="row" style={{ gap: 8 }}><Likely callee={each} /><span>{share(each.likelihood.value)}</span></div></td>
              <td className="num" title="in executions that call it">{each.calls_per_execution.mean >= 1.05 ? `${each.calls_per_execution.mean.toFixed(1)}×` : "once"}</td>
              <td style={{ paddingTop: 9 }}>{each.delay_ms.count > 0 && <Place callee={each} total={total} />}</td>
              <td className="num">{each.delay_ms.count > 0 ? ms(each.delay_ms.p50) : "–"}</td>
              <td className="num">{each.latency_ms.count > 0 ? ms(each.latency_ms.p50) : "–"}</td>
              <td className="num">{each.latency_ms.count > 0 ? ms(each.latency_ms.p95) : "–"}</td>
              <td className={each.error_rate.value > 0 ? "num bad" : "num faint"} title={Object.entries(each.errors).map(([type, n]) => `${type} ${count(n)}`).join(", ")}>{share(each.error_rate.value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function CriticalPath({ parts }: { parts: Profile["critical_path"] }) {
  const shown = parts.filter((part) => part.share >= 0.005).slice(0, 8);
  return (
    <>
      <h3 className="soft" style={{ margin: "12px 0 6px", fontWeight: 400, fontSize: 11.5 }}>What an execution waits for, on average</h3>
      <ul className="path">
        {shown.map((part) => (
          <li key={part.who}>
            <span className="clip" title={part.who}>{part.who === "self" ? "its own work" : part.who.replace(/^\w+:/, "")}</span>
            <span className="track"><i className={part.who === "self" ? "self" : ""} style={{ width: `${part.share * 100}%` }} /></span>
            <span className="num">{ms(part.ms)}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
