// Sends dead letters again, or deletes them, after it has asked.
import { useState } from "react";
import { ask } from "../../client";
import type { Done } from "../../events";
import { count } from "../../format";
import { Ask } from "./Ask";

/** Which letters: by their ids, or all that a filter lets through; `says` names them. */
export type Wish = { says: string } & ({ ids: string[] } | { filter: { All: boolean; Target: string; Reason: string } });

// A request's body is bounded.
const TOGETHER = 200;

async function carryOut(command: string, wish: Wish, more: Record<string, number>): Promise<Done[]> {
  if ("filter" in wish) {
    const { All, Target, Reason } = wish.filter;
    const which = { ...(All ? { All } : {}), ...(Target ? { Target } : {}), ...(Reason ? { Reason } : {}) };
    return [await ask<Done>(`platform/${command}`, { ...which, ...more })];
  }
  const done: Done[] = [];
  for (let i = 0; i < wish.ids.length; i += TOGETHER)
    done.push(await ask<Done>(`platform/${command}`, { Ids: wish.ids.slice(i, i + TOGETHER), ...more }));
  return done;
}

function told(done: Done[], verb: string): string {
  const skipped = done.flatMap((each) => each.Skipped);
  const n = done.reduce((sum, each) => sum + (each.Redriven ?? each.Deleted ?? 0), 0);
  const stay = skipped.length === 0 ? "" : ` ${count(skipped.length)} ${skipped.length === 1 ? "stays" : "stay"}: ${[...new Set(skipped.map((each) => each.Reason))].slice(0, 3).join("; ")}.`;
  return `${count(n)} ${verb}.${stay}${done.some((each) => each.More) ? " There are more than are taken at once: repeat it for the rest." : ""}`;
}

function Bound({ label, unit, value, set, low, high }: { label: string; unit: string; value: string; set: (value: string) => void; low: number; high: number }) {
  return (
    <label className="bound">{label}
      <span className="row"><input type="number" min={low} max={high} step={1} value={value} placeholder="as it is" onChange={(event) => set(event.target.value)} /> <span className="soft">{unit}, {low} to {high}</span></span>
    </label>
  );
}

export function Act({ what, wish, close, done }: { what: "redrive" | "delete"; wish: Wish; close: () => void; done: (said: string) => void }) {
  const [memory, setMemory] = useState("");
  const [timeout, setTimeout] = useState("");
  if (what === "delete")
    return (
      <Ask title={`Delete ${wish.says}?`} verb="Delete" grave close={close}
        act={async () => done(told(await carryOut("delete-dead-letters", wish, {}), "deleted"))}>
        <p>What was in {"ids" in wish && wish.ids.length === 1 ? "it" : "them"} is gone then, and can be neither seen nor sent again.</p>
      </Ask>
    );
  return (
    <Ask title={`Send ${wish.says} again?`} verb="Send again" close={close}
      act={async () => done(told(await carryOut("redrive-dead-letters", wish, { ...(memory ? { MemorySize: Number(memory) } : {}), ...(timeout ? { Timeout: Number(timeout) } : {}) }), "sent again"))}>
      <p>Each goes to its target once more and is taken off the list. What fails again comes back.</p>
      <div className="row wrap bounds">
        <Bound label="Memory" unit="MB" value={memory} set={setMemory} low={128} high={10240} />
        <Bound label="Timeout" unit="s" value={timeout} set={setTimeout} low={1} high={900} />
      </div>
      <p className="faint">For this run of functions only; their configuration stays as it is.</p>
    </Ask>
  );
}
