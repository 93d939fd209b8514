// Writes a metaevent: its name, and the rest of it as JSON, checked by the server.
import { useState } from "react";
import { ask } from "../../client";
import { places, type Metaevent } from "../../events";
import { Sheet, Trouble } from "../../parts/small";
import { go } from "../../route";

const EXAMPLE = {
  When: { absent: { event: "execution.started", function: "backup" }, within: "24h" },
  Job: "alarm",
  Description: "backup has not run for a day",
};

/** A rule as its owner gives it. */
export function given(rule: Metaevent): Record<string, unknown> {
  return {
    Name: rule.Name,
    When: rule.When,
    Job: rule.Job,
    ...(rule.Input === null ? {} : { Input: rule.Input }),
    ...(rule.InputTransformer === null ? {} : { InputTransformer: rule.InputTransformer }),
    ...(rule.Description ? { Description: rule.Description } : {}),
    ...(rule.Cooldown ? { Cooldown: rule.Cooldown } : {}),
    ...(rule.Enabled ? {} : { Enabled: false }),
  };
}

function read(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is no JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("It must be a JSON object with When and Job.");
  return value as Record<string, unknown>;
}

export function Edit({ rule, close }: { rule?: Metaevent; close?: () => void }) {
  const [name, setName] = useState(rule?.Name ?? "");
  const [text, setText] = useState(() => {
    const { Name: _, ...rest } = rule ? given(rule) : { Name: "", ...EXAMPLE };
    return JSON.stringify(rest, null, 2);
  });
  const [failed, setFailed] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const back = close ?? (() => go(places.metaevents));
  const save = async () => {
    setBusy(true);
    setFailed(undefined);
    try {
      await ask("platform/put-metaevent", { ...read(text), Name: name.trim() });
      if (close) close();
      else go(places.metaevent(name.trim()), { replace: true });
    } catch (error) {
      setFailed(error as Error);
      setBusy(false);
    }
  };
  return (
    <Sheet title={rule ? `Edit ${rule.Name}` : "New metaevent"}>
      <div className="body stack edit" onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !busy) void save();
        else if (event.key === "Escape" && !busy) back();
      }}>
        {!rule && <label>Name<input className="plain" value={name} spellCheck={false} maxLength={64} autoFocus onChange={(event) => setName(event.target.value)} /></label>}
        <label>Criteria and job, as JSON<textarea className="mono" rows={18} spellCheck={false} value={text} autoFocus={Boolean(rule)} onChange={(event) => setText(event.target.value)} /></label>
        <p className="soft">Criteria are one of <span className="mono">event, count, rate, sum, quantile, all, any, not, sequence, absent</span>; <span className="mono">where</span> is CEL over <span className="mono">event</span>. Job is a function of yours. Other criteria than before begin anew.</p>
        {failed && <Trouble error={failed} />}
        <div className="row">
          <button type="button" className="btn main" disabled={busy} onClick={() => void save()}>Save</button>
          <button type="button" className="btn" disabled={busy} onClick={back}>Cancel</button>
          <span className="faint"><kbd>Ctrl</kbd> <kbd>Enter</kbd> saves</span>
        </div>
      </div>
    </Sheet>
  );
}
