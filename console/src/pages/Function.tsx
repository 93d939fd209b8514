// One function: how it does, what it calls, what could be better, what it did and wrote.
import { useState } from "react";
import type { FunctionPage, Me, Pulse, PulseRow } from "../api";
import { query, useData, useStream } from "../client";
import { mb, ms, rate, share } from "../format";
import { Empty, Fact, Starts, Trouble } from "../parts/small";
import { Link, paths, useRoute } from "../route";
import { Invocations } from "./function/Invocations";
import { Logs } from "./function/Logs";
import { Overview } from "./function/Overview";
import { Versions } from "./function/Versions";
import "../style/function.css";

const TABS = ["overview", "invocations", "logs", "versions"] as const;

function Now({ pulse }: { pulse: PulseRow | undefined }) {
  const calls = pulse?.calls ?? 0;
  return (
    <dl className="facts" aria-label="In the last minute">
      <Fact name="Calls">{rate(calls, 60)}</Fact>
      <Fact name="Errors"><span className={pulse?.errors ? "bad" : ""}>{calls ? share((pulse?.errors ?? 0) / calls) : "–"}</span></Fact>
      <Fact name="p50">{calls ? ms(pulse?.p50) : "–"}</Fact>
      <Fact name="p95">{calls ? ms(pulse?.p95) : "–"}</Fact>
      <Fact name="Starts"><div style={{ width: 110, padding: "8px 0 11px" }}><Starts mix={pulse?.starts ?? {}} /></div></Fact>
    </dl>
  );
}

export default function FunctionView({ name, me }: { name: string; me: Me }) {
  const { query: asked } = useRoute();
  const tab = TABS.find((each) => each === asked.get("tab")) ?? "overview";
  const { data, error, again } = useData<FunctionPage>(query("function", { name }), 20);
  const [pulse, setPulse] = useState<Pulse>();
  useStream<Pulse>(query("pulse", { name }), setPulse);
  if (error && !data)
    return (
      <div className="stack">
        <Trouble error={error} again={again} />
        <Empty title={`${name} is not here.`}><Link to={paths.functions}>To the functions</Link></Empty>
      </div>
    );
  if (!data) return <p className="wait">…</p>;
  return (
    <>
      <div className="row between wrap" style={{ alignItems: "flex-start", gap: 20 }}>
        <div>
          <h1>{data.name}</h1>
          <p className="soft">
            {data.runtime} · <span className="mono">{data.handler}</span> · {mb(data.memory_mb)} · {data.timeout_s}&thinsp;s
            {data.reserved !== null && ` · ${data.reserved} reserved`}
            {data.snap_start && " · SnapStart"}
            {data.egress !== "platform" && ` · network ${data.egress}`}
            {data.state !== "Active" && <> <span className="tag warn">{data.state}</span></>}
          </p>
          {data.description && <p className="soft">{data.description}</p>}
        </div>
        <Now pulse={pulse?.functions[name]} />
      </div>
      <div className="tabs" role="tablist" aria-label="Views of the function">
        {TABS.map((each) => (
          <Link key={each} to={paths.function(name, each === "overview" ? "" : each)} role="tab" aria-selected={each === tab}>
            {each[0]?.toUpperCase() + each.slice(1)}
          </Link>
        ))}
      </div>
      {tab === "overview" && <Overview page={data} me={me} again={again} />}
      {tab === "invocations" && <Invocations name={name} />}
      {tab === "logs" && <Logs name={name} />}
      {tab === "versions" && <Versions page={data} />}
    </>
  );
}
