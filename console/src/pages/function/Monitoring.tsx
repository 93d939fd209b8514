// Whether executions of a function are watched, why, and the switch.
import { useEffect, useState } from "react";
import type { FunctionPage, Monitoring } from "../../api";
import { ask, query, useData } from "../../client";
import { count } from "../../format";
import { Sheet, Trouble } from "../../parts/small";

const CHOICES: [string, string, string][] = [
  ["auto", "Automatic", "as often as the budget allows"],
  ["on", "All", "every execution"],
  ["off", "None", "no execution"],
];

export function MonitoringSwitch({ page, enabled, again }: { page: FunctionPage; enabled: boolean; again: () => void }) {
  const { data, again: anew } = useData<Monitoring | null>(query("platform/monitoring", { FunctionName: page.name }), 5);
  const [chosen, setChosen] = useState(page.monitoring || "auto");
  const [failed, setFailed] = useState<Error>();
  useEffect(() => setChosen(page.monitoring || "auto"), [page.monitoring]);
  const choose = async (value: string) => {
    setChosen(value);
    setFailed(undefined);
    try {
      await ask("set-monitoring", { name: page.name, value });
    } catch (error) {
      setFailed(error as Error);
      setChosen(page.monitoring || "auto");
    }
    again();
    anew();
  };
  const sampled = Number(chosen) > 0;
  return (
    <Sheet title="Monitoring" aside={data && enabled ? <span className={data.OneIn ? "tag good" : "tag"}>{data.OneIn === 1 ? "every execution" : data.OneIn ? `1 in ${count(data.OneIn)}` : "not watched"}</span> : null}>
      <div className="body stack" style={{ gap: 8 }}>
        <div className="row" style={{ gap: 4 }} role="radiogroup" aria-label="Which executions are watched">
          {CHOICES.map(([value, label, hint]) => (
            <button key={value} type="button" className="btn" role="radio" aria-checked={chosen === value} aria-pressed={chosen === value} title={hint} onClick={() => void choose(value)}>{label}</button>
          ))}
          {sampled && <button type="button" className="btn" role="radio" aria-checked aria-pressed>1 in {chosen}</button>}
        </div>
        {!enabled && <p className="warn">Monitoring is switched off on this server (monitoring.enabled).</p>}
        {enabled && data?.Reason && <p className="soft">{data.Reason}{data.Executions > 0 && ` · ${count(data.Monitored)} of ${count(data.Executions)} executions watched`}</p>}
        {failed && <Trouble error={failed} />}
      </div>
    </Sheet>
  );
}
