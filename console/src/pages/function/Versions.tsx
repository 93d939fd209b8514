// Versions of a function, the aliases that lead to them, and how the versions' profiles differ.
import { useState } from "react";
import type { Comparison, FunctionPage } from "../../api";
import { query, useData } from "../../client";
import { bytes, count, mb, moment } from "../../format";
import { Empty, Sheet, Trouble } from "../../parts/small";

function Compare({ page }: { page: FunctionPage }) {
  const names = page.versions.map((each) => each.version);
  const [from, setFrom] = useState(names[1] ?? "");
  const [to, setTo] = useState(names[0] ?? "");
  const { data, error } = useData<Comparison | null>(from && to && from !== to ? query("perhaps/compare", { FunctionName: page.name, From: from, To: to }) : null);
  const choice = (label: string, value: string, set: (value: string) => void) => (
    <select aria-label={label} value={value} onChange={(event) => set(event.target.value)}>{names.map((each) => <option key={each}>{each}</option>)}</select>
  );
  return (
    <Sheet title="What changed between" aside={<div className="row">{choice("From version", from, setFrom)} and {choice("To version", to, setTo)}</div>}>
      <div className="body">
        {error && <Trouble error={error} />}
        {data === null && <p className="soft">Executions of both have to be watched first.</p>}
        {data && (data.Changes.length ? <ul className="changes">{data.Changes.map((each) => <li key={`${each.what} ${each.who}`}>{each.words}</li>)}</ul> : <p className="soft">No difference beyond what chance explains, over {count(data.From.sampled)} and {count(data.To.sampled)} executions.</p>)}
      </div>
    </Sheet>
  );
}

export function Versions({ page }: { page: FunctionPage }) {
  return (
    <div className="stack">
      <Sheet title="Versions">
        <div className="body">
          <table className="table">
            <thead><tr><th>Version</th><th>Aliases</th><th>Published</th><th>Runtime</th><th className="num">Memory</th><th className="num">Code</th><th>SHA-256</th><th>Description</th></tr></thead>
            <tbody>
              {page.versions.map((each) => (
                <tr key={each.version}>
                  <td className="strong">{each.version}</td>
                  <td>{each.aliases.map((alias) => <span key={alias} className="tag good" style={{ marginRight: 4 }}>{alias}</span>)}</td>
                  <td className="soft">{moment(each.modified)}</td>
                  <td className="soft">{each.runtime}{each.snap_start ? " · SnapStart" : ""}</td>
                  <td className="num">{mb(each.memory_mb)}</td>
                  <td className="num">{bytes(each.code_size)}</td>
                  <td className="mono faint" title={each.code_sha256}>{each.code_sha256.slice(0, 10)}</td>
                  <td className="soft">{each.description}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {page.versions.length === 1 && <Empty title="There is only $LATEST." command={`aws lambda publish-version --function-name ${page.name}`}>Publish a version to keep what the function is now, and to compare later ones with it.</Empty>}
        </div>
      </Sheet>
      {page.versions.length > 1 && <Compare page={page} />}
      <Sheet title="Settings">
        <div className="body">
          <dl className="pairs wide">
            <div><dt>ARN</dt><dd className="mono">{page.arn}</dd></div>
            <div><dt>role</dt><dd className="mono">{page.role}</dd></div>
            <div><dt>log group</dt><dd className="mono">{page.log_group}</dd></div>
            <div><dt>storage</dt><dd>{mb(page.ephemeral_mb)}</dd></div>
            <div><dt>environment</dt><dd className="mono">{page.environment.join(", ") || "–"}</dd></div>
            <div><dt>layers</dt><dd className="mono">{page.layers.join(", ") || "–"}</dd></div>
            <div><dt>tags</dt><dd className="mono">{Object.entries(page.tags).map(([key, value]) => `${key}=${value}`).join(", ") || "–"}</dd></div>
          </dl>
        </div>
      </Sheet>
    </div>
  );
}
