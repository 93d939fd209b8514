// How a function does over time, whom it calls, what could be better, and whether it is watched.
import { useMemo, useState } from "react";
import { STARTS, type FindingPage, type FunctionPage, type Me, type Measure, type Profile, type ProfilePage, type Series, type ServiceMap } from "../../api";
import { query, useData } from "../../client";
import { count, mb, ms, share } from "../../format";
import Chart, { type Line } from "../../parts/Chart";
import Graph from "../../parts/Graph";
import { Empty, Sheet, StartLegend, Starts, Trouble } from "../../parts/small";
import { setQuery, useRoute } from "../../route";
import { Callees, CriticalPath } from "./Callees";
import { ForecastSheet } from "./Forecast";
import { MonitoringSwitch } from "./Monitoring";
import { Triggers } from "./Triggers";

const RANGES: [string, number][] = [["1 h", 3600], ["6 h", 21_600], ["24 h", 86_400], ["7 d", 604_800]];

function Activity({ name }: { name: string }) {
  const { query: asked } = useRoute();
  const range = RANGES.find(([label]) => label === asked.get("range")) ?? (RANGES[0] as [string, number]);
  const { data, error, again } = useData<Series>(query("series", { name, seconds: range[1] }), 15);
  const latency = useMemo<Line[]>(() => data ? [
    { label: "p50", color: "--accent", values: data.p50 },
    { label: "p95", color: "--warm", values: data.p95 },
    { label: "p99", color: "--bad", values: data.p99, dash: true },
  ] : [], [data]);
  const calls = useMemo<Line[]>(() => data ? [
    { label: "calls", color: "--bar", values: data.calls, bars: true },
    { label: "errors", color: "--bad", values: data.errors, bars: true },
    { label: "at once", color: "--accent", values: data.concurrency },
  ] : [], [data]);
  const ranges = (
    <div className="row" style={{ gap: 4 }} role="group" aria-label="Time shown">
      {RANGES.map(([label]) => (
        <button key={label} type="button" className="btn" aria-pressed={label === range[0]} onClick={() => setQuery({ range: label === "1 h" ? "" : label })}>{label}</button>
      ))}
    </div>
  );
  const silent = data && !data.calls.some(Boolean);
  return (
    <Sheet title="Over time" aside={ranges}>
      <div className="body">
        {error && !data && <Trouble error={error} again={again} />}
        {silent && <Empty title={`No calls within ${range[0].replace("h", "hour").replace("d", "days")}.`} command={`forerun invoke ${name}`} />}
        {data && !silent && (
          <div className="charts">
            <div>
              <h3 className="soft">Duration</h3>
              <Chart label="Duration over time: p50, p95, p99" at={data.at} lines={latency} stepS={data.step_s} show={ms} />
            </div>
            <div>
              <h3 className="soft">Calls per {data.step_s === 60 ? "minute" : `${count(data.step_s / 60)} minutes`}, and how many at once</h3>
              <Chart label="Calls, errors and concurrency over time" at={data.at} lines={calls} stepS={data.step_s} show={count} />
            </div>
          </div>
        )}
        {data && STARTS.some((start) => data.starts[start]) && (
          <div style={{ marginTop: 10 }}>
            <Starts mix={data.starts} />
            <div style={{ height: 6 }} />
            <StartLegend mix={data.starts} />
          </div>
        )}
      </div>
    </Sheet>
  );
}

function measured({ what, value, unit = "", low, high }: Measure): string {
  const show = (n: number) => (unit === "ms" ? ms(n) : unit === "%" ? share(n / 100) : unit === "MB" ? mb(n) : `${n % 1 ? n.toFixed(2) : count(n)}${unit && unit !== what.split(" ")[0] ? ` ${unit}` : ""}`);
  const range = low !== undefined && high !== undefined ? ` (${show(low)} to ${show(high)})` : "";
  return `${what}: ${show(value)}${range}`;
}

function Findings({ name }: { name: string }) {
  const { data, error } = useData<FindingPage | null>(query("perhaps/findings", { FunctionName: name }), 30);
  if (error) return null;
  return (
    <Sheet title="Findings" aside={data && data.Findings.length > 0 ? <span className="tag warn">{data.Findings.length}</span> : null}>
      <div className="body">
        {data !== undefined && !data?.Findings.length && (
          <p className="soft">{data && data.Watched >= data.AtLeast ? `Nothing worth changing was seen in ${count(data.Watched)} executions.` : `Nothing is said before ${data?.AtLeast ?? 20} executions were watched.`}</p>
        )}
        <ul className="findings">
          {data?.Findings.map((each, i) => (
            <li key={i}>
              <details>
                <summary><span className="strong">{each.title}</span>{each.gain.amount > 0 && <span className="tag good">−{each.gain.unit === "ms" ? ms(each.gain.amount) : mb(each.gain.amount)}</span>}</summary>
                <p>{each.advice}{each.condition && <em> {each.condition}</em>}</p>
                <ul className="soft">{each.evidence.map((measure) => <li key={measure.what}>{measured(measure)}</li>)}</ul>
                <p className="faint">{each.confidence}{each.gain.how && `; gain: ${each.gain.how}`}</p>
              </details>
            </li>
          ))}
        </ul>
      </div>
    </Sheet>
  );
}

function ProfileFacts({ profile }: { profile: Profile }) {
  const memory = profile.memory.used_mb;
  return (
    <dl className="pairs">
      <div><dt>executions seen</dt><dd>{count(profile.sampled)} <span className="faint">for {count(profile.executions)}</span></dd></div>
      <div><dt>duration</dt><dd>{ms(profile.duration_ms.p50)} <span className="faint">p95 {ms(profile.duration_ms.p95)}</span></dd></div>
      {profile.init_ms.count > 0 && <div><dt>init</dt><dd>{ms(profile.init_ms.p50)} <span className="faint">p95 {ms(profile.init_ms.p95)}</span></dd></div>}
      <div><dt>waiting for others</dt><dd>{share(profile.waiting_share)}</dd></div>
      {profile.cpu_share > 0 && <div><dt>CPU</dt><dd>{share(profile.cpu_share)}</dd></div>}
      {memory.count > 0 && <div><dt>memory</dt><dd>{mb(memory.max)} <span className="faint">of {mb(profile.memory.configured_mb)}</span></dd></div>}
      <div><dt>errors</dt><dd className={profile.error_rate.value > 0 ? "bad" : ""}>{share(profile.error_rate.value)}</dd></div>
    </dl>
  );
}

export function Overview({ page, me, again }: { page: FunctionPage; me: Me; again: () => void }) {
  const name = page.name;
  const [version, setVersion] = useState("");
  const asked = { FunctionName: name, Qualifier: version };
  const { data: known, error } = useData<ProfilePage | null>(query("perhaps/profile", asked), 10);
  const { data: reach } = useData<ServiceMap | null>(query("perhaps/reach", asked), 20);
  const profile = known?.Profile;
  const versions = (
    <select aria-label="Version of the profile" value={version} onChange={(event) => setVersion(event.target.value)}>
      <option value="">the version watched last</option>
      {page.versions.map((each) => (
        <option key={each.version} value={each.version}>{each.version === "$LATEST" ? "" : "version "}{each.version}{each.aliases.length ? ` (${each.aliases.join(", ")})` : ""}</option>
      ))}
    </select>
  );
  const calls = (reach?.nodes.length ?? 0) > 1;
  return (
    <div className="columns">
      <div className="stack">
        <Activity name={name} />
        <Sheet title="What it calls" aside={versions}>
          {calls && reach && <Graph map={reach} root={`function:${name}`} label={`What ${name} calls, directly and further on`} height={Math.min(460, 150 + 44 * reach.nodes.length)} />}
          {profile && profile.callees.length > 0 && <div className="body"><Callees profile={profile} /></div>}
          {!calls && (!profile || profile.callees.length === 0) && (
            <Empty title={profile ? "It calls nothing." : "No execution has been watched yet."} {...(profile ? {} : { command: `forerun invoke ${name}` })}>
              {profile ? `So it was in all ${count(profile.sampled)} executions that were watched.` : me.monitoring ? "Its calls are seen as soon as it runs; nothing needs to be changed in its code." : "Monitoring is switched off on this server (monitoring.enabled)."}
            </Empty>
          )}
        </Sheet>
      </div>
      <div className="stack">
        <Triggers name={name} arn={page.arn} />
        <MonitoringSwitch page={page} enabled={me.monitoring} again={again} />
        <ForecastSheet name={name} />
        {error && <Trouble error={error} />}
        {profile && (
          <Sheet title="Profile" aside={<span className="faint">{profile.version}</span>}>
            <div className="body">
              <ProfileFacts profile={profile} />
              {profile.critical_path.length > 0 && <CriticalPath parts={profile.critical_path} />}
            </div>
          </Sheet>
        )}
        <Findings name={name} />
      </div>
    </div>
  );
}
