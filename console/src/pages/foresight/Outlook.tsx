// One function: the calls of the past hour with what was foreseen of them, and what is expected to come.
import { useMemo } from "react";
import type { InvocationPage, Series } from "../../api";
import { query, useData } from "../../client";
import { picture, STEP_S, when, why, type Expectation, type FunctionForecast } from "../../foresight";
import { count, share } from "../../format";
import Chart, { type Line } from "../../parts/Chart";
import { FunctionLink, Sheet, Trouble } from "../../parts/small";

const number = (value: number) => (value % 1 ? value.toFixed(1) : count(value));
const MOST = 4;

/** What is expected next, in lines. */
export function Coming({ windows, now }: { windows: Expectation[]; now: number }) {
  const coming = windows.filter((each) => each.until > now).slice(0, MOST);
  if (!coming.length) return <p className="soft">No call is expected soon.</p>;
  return (
    <ul className="coming">
      {coming.map((each) => (
        <li key={`${each.since} ${each.reason}`}>
          <span className="strong">{when(each, now)}</span>
          <span className="soft">{each.count > 1 && `${count(each.count)} at once, `}{share(each.probability)}, {why(each)}</span>
        </li>
      ))}
    </ul>
  );
}

/** The windows that hold, and those further off that the past speaks for. */
export const windowsOf = ({ Expected, Forecast, Now }: FunctionForecast): Expectation[] => {
  const soon = Expected.filter((each) => each.until > Now);
  const last = Math.max(Now, ...soon.map((each) => each.until));
  return [...soon, ...(Forecast?.windows ?? []).filter((each) => each.since >= last)];
};

export function Outlook({ name, qualifier }: { name: string; qualifier: string }) {
  const { data, error, again } = useData<FunctionForecast>(query("platform/forecast", { FunctionName: name, Qualifier: qualifier }), 5);
  const { data: series } = useData<Series>(query("series", { name, seconds: 3600 }), 10);
  const { data: calls } = useData<InvocationPage>(query("platform/invocations", { FunctionName: name, MaxItems: 1000 }), 10);
  const shown = useMemo(() => data && series && picture(data.Now, series, calls?.Invocations ?? [], windowsOf(data)), [data, series, calls]);
  const lines = useMemo<Line[]>(() => shown ? [
    { label: "expected", color: "--accent", values: shown.expected, fill: true },
    { label: "calls", color: "--bar", values: shown.calls, bars: true },
    { label: "hits", color: "--good", values: shown.hits, marks: true },
    { label: "misses", color: "--bad", values: shown.misses, marks: true },
  ] : [], [shown]);
  return (
    <Sheet title={`Forecast and calls of ${name}${qualifier && `:${qualifier}`}`} aside={<FunctionLink name={name} />}>
      <div className="body">
        {error && !data && <Trouble error={error} again={again} />}
        {shown && <Chart label="Calls per minute in the past hour, hits and misses, and what is expected" at={shown.at} lines={lines} stepS={STEP_S} show={number} height={170} />}
        {data && <Coming windows={windowsOf(data)} now={data.Now} />}
        {data?.Held.map((each) => (
          <p className="soft" key={each.Version}>
            {each.Version}: {count(each.Standing.idle)} ready{each.Standing.preparing > 0 && `, ${each.Standing.preparing} being made`} of {count(Math.max(each.Idle, each.Provisioned))}, {why({ reason: each.Reason, cause: each.Cause })}
            {each.Standing.failure && <span className="bad"> {each.Standing.failure}</span>}
          </p>
        ))}
      </div>
    </Sheet>
  );
}
