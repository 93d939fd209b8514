// Everything that calls and is called in the account.
import { useDeferredValue, useMemo, useState } from "react";
import type { ServiceMap } from "../api";
import { useData } from "../client";
import { count } from "../format";
import Graph from "../parts/Graph";
import { excerpt } from "../parts/layout";
import { Empty, Search, Trouble } from "../parts/small";

const DRAWN = 80;
const name = (id: string) => id.replace(/^\w+:/, "");

export default function MapView() {
  const { data, error, again } = useData<ServiceMap>("platform/map", 30);
  const [filter, setFilter] = useState("");
  const words = useDeferredValue(filter);
  const shown = useMemo(() => (data ? excerpt(data, words, DRAWN) : undefined), [data, words]);
  if (error && !data) return <Trouble error={error} again={again} />;
  if (!data || !shown) return <p className="wait">…</p>;
  if (data.nodes.length === 0)
    return <Empty title="Nothing has been seen calling anything." command="forerun invoke NAME">The map is drawn from monitored executions. Call a function that calls another one or a service.</Empty>;
  return (
    <section className="sheet" aria-label="Service map">
      <header>
        <div className="row">
          <h1 className="vh">Map</h1>
          <Search value={filter} onChange={setFilter} label="Find in the map" />
          <span className="soft">{count(data.nodes.filter((node) => node.kind === "function").length)} functions, {count(data.nodes.filter((node) => node.kind === "service").length)} services, {count(data.edges.length)} calls</span>
          {shown.cut && <span className="tag warn">{filter ? `${count(shown.nodes.length)} around what fits are drawn` : `the busiest ${count(shown.nodes.length)} are drawn; find others by name`}</span>}
        </div>
        {data.cycles.length > 0 && (
          <span className="warn" title={data.cycles.map((ids) => ids.map(name).join(" → ")).join("\n")}>
            {data.cycles.length === 1 ? "a cycle: " : `${data.cycles.length} cycles, one: `}
            {[...(data.cycles[0] ?? []), data.cycles[0]?.[0] ?? ""].map(name).join(" → ")}
          </span>
        )}
      </header>
      <Graph map={shown} label="Service map" height="calc(100vh - 140px)" filter={filter} />
    </section>
  );
}
