// One metaevent: what of its criteria holds, why it did or did not fire, what led to it, and what it ran.
import { useState, type ReactNode } from "react";
import { ask, query, useData } from "../../client";
import { ahead, depth, local, places, span, useNow, valued, type CriteriaPart, type Evaluation, type Metaevent } from "../../events";
import { ago, count } from "../../format";
import { Empty, Fact, Sheet, Trouble } from "../../parts/small";
import { go, Link, paths } from "../../route";
import { Ask } from "./Ask";
import { Edit, given } from "./Edit";
import { Holding } from "./Metaevents";
import { Block, Pairs, Thing } from "./Words";

export const Mark = ({ held }: { held: boolean }) => <span className={held ? "mark-yes" : "mark-no"} role="img" aria-label={held ? "holds" : "does not hold"}>{held ? "✓" : "✗"}</span>;

function Parts({ parts, values }: { parts: CriteriaPart[]; values: { Held: boolean; Value: number | string | null }[] }) {
  return (
    <ul className="criteria">
      {parts.map((part, i) => {
        const found = values[i] ?? part;
        const value = valued(part.Says, found.Value);
        return (
          <li key={part.Path} style={{ paddingLeft: 20 * depth(part.Path) }} title={part.Path}>
            <Mark held={found.Held} /> <span>{part.Says}</span>{value && <span className="tag">{value}</span>}
          </li>
        );
      })}
    </ul>
  );
}

function Outcome({ each }: { each: Evaluation }) {
  if (each.Job) return <span className="tag good">job run</span>;
  if (each.Refused) return <span className="tag warn">refused</span>;
  return <span className="soft">{each.Held ? "held on" : "not fired"}</span>;
}

function Evaluations({ rule, now }: { rule: Metaevent; now: number }) {
  if (!rule.Evaluations.length) return <p className="body soft">Nothing that its criteria look for has happened yet.</p>;
  return (
    <ul className="evaluations">
      {rule.Evaluations.map((each) => (
        <li key={`${each.At} ${each.Event}`}>
          <details>
            <summary>
              <time className="soft" title={local(each.Until)}>{ago(each.Until, now)} ago</time>
              <span>{each.Event || <span className="soft">time passed</span>}{each.Times > 1 && <span className="faint"> × {count(each.Times)}</span>}</span>
              <span className="marks">{each.Parts.map((part, i) => <Mark key={i} held={part.Held} />)}</span>
              <Outcome each={each} />
            </summary>
            <Parts parts={rule.Parts} values={each.Parts} />
            <p className="faint">{each.Times > 1 ? `${count(each.Times)} times from ${local(each.At)} to ${local(each.Until)}; as it was found last` : local(each.At)}</p>
            {each.Refused && <p className="warn">The criteria came to hold, and no job was run: {each.Refused}.</p>}
          </details>
        </li>
      ))}
    </ul>
  );
}

function Jobs({ rule, now }: { rule: Metaevent; now: number }) {
  if (!rule.Jobs.length) return <p className="body soft">It has run no job yet.</p>;
  return (
    <ul className="jobs">
      {rule.Jobs.map((job) => (
        <li key={job.Id}>
          <time className="soft" title={local(job.At)}>{ago(job.At, now)} ago</time>
          <span className="chain" aria-label={`Chain: ${job.Chain.join(", then ")}`}>
            {job.Chain.map((name, i) => <span key={i}>{i > 0 && <span className="faint"> → </span>}{name === rule.Name ? <span className="strong">{name}</span> : <Link to={places.metaevent(name)}>{name}</Link>}</span>)}
          </span>
          <Link to={paths.trace(job.RequestId)} className="mono faint" title={`The execution ${job.RequestId}`}>{job.RequestId.slice(0, 8)}</Link>
        </li>
      ))}
    </ul>
  );
}

/** Sentences of the form `When.all[0]: what was found`, whose path says nothing to people. */
const plain = (sentence: string) => {
  const text = sentence.replace(/^When[^ :]*: /, "").replace(/\b(\d{3,}) s\b/g, (_, seconds: string) => span(Number(seconds)));
  return /^\w+\.\w/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
};

function Facts({ rule, now }: { rule: Metaevent; now: number }) {
  return (
    <dl className="facts">
      <Fact name="Fired">{count(rule.Fired)} {rule.FiredAt > 0 && <small>{ago(rule.FiredAt, now)} ago</small>}</Fact>
      <Fact name="Refused" hint="its criteria came to hold, and a bound kept the job from being run"><span className={rule.Refused ? "warn" : ""}>{count(rule.Refused)}</span></Fact>
      <Fact name="Next timer" hint="when time alone may change what holds">{rule.NextMoment ? <span title={local(rule.NextMoment)}>{ahead(rule.NextMoment, now)}</span> : "–"}</Fact>
    </dl>
  );
}

export default function MetaeventView({ name }: { name: string }) {
  const { data, error, again } = useData<{ Metaevent: Metaevent }>(query("platform/metaevent", { Name: name }), 2);
  const [editing, setEditing] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const [failed, setFailed] = useState<Error>();
  const now = useNow();
  const rule = data?.Metaevent;
  if (!rule && error)
    return <div className="stack"><Trouble error={error} again={again} /><Empty title={`${name} is not here.`}><Link to={places.metaevents}>To the metaevents</Link></Empty></div>;
  if (!rule) return <p className="wait">…</p>;
  if (editing) return <Edit rule={rule} close={() => { setEditing(false); again(); }} />;
  const turn = async () => {
    setFailed(undefined);
    try {
      await ask("platform/put-metaevent", { ...given(rule), Enabled: !rule.Enabled });
    } catch (trouble) {
      setFailed(trouble as Error);
    }
    again();
  };
  const last = rule.LastEvent;
  const more: [string, ReactNode][] = [
    ["runs", <Thing key="job" of={rule.Job} />],
    ...(rule.Cooldown ? [["cooldown", span(rule.Cooldown)] as [string, ReactNode]] : []),
    ["registered", local(rule.Since)],
    ["changed", local(rule.Modified)],
    ["last event", last ? <>{last.event}{last.function && <> of {last.function}</>}{last.status && `, ${last.status}`}, <span title={local(last.at)}>{ago(last.at, now)} ago</span></> : "none yet"],
  ];
  return (
    <div className="stack">
      <div className="row between wrap" style={{ gap: 20, alignItems: "flex-start" }}>
        <div>
          <h1>{rule.Name}</h1>
          <p><Holding rule={rule} /> {rule.Description && <span className="soft">{rule.Description}</span>}</p>
        </div>
        <Facts rule={rule} now={now} />
        <div className="row">
          <button type="button" className="btn" onClick={() => setEditing(true)}>Edit…</button>
          <button type="button" className="btn" onClick={() => void turn()}>{rule.Enabled ? "Disable" : "Enable"}</button>
          <button type="button" className="btn" onClick={() => setDeleting(true)}>Delete…</button>
        </div>
      </div>
      {failed && <Trouble error={failed} />}
      <div className="columns">
        <div className="stack">
          <Sheet title={rule.Held ? "Why it does not fire again" : "Why it does not fire now"}>
            <ul className="body why">{rule.Why.map((each) => <li key={each}>{plain(each)}</li>)}</ul>
          </Sheet>
          <Sheet title="Criteria, and what holds of them now"><div className="body"><Parts parts={rule.Parts} values={rule.Parts} /></div></Sheet>
          <Sheet title="Last evaluations"><Evaluations rule={rule} now={now} /></Sheet>
        </div>
        <div className="stack">
          <Sheet title="Rule"><div className="body"><Pairs of={more} /></div></Sheet>
          <Sheet title="Jobs and their chains"><Jobs rule={rule} now={now} /></Sheet>
          <Sheet title="As it was written"><div className="body"><Block label="Definition">{JSON.stringify(given(rule), null, 2)}</Block></div></Sheet>
        </div>
      </div>
      {deleting && (
        <Ask title={`Delete ${rule.Name}?`} verb="Delete" grave close={() => setDeleting(false)}
          act={async () => { await ask("platform/delete-metaevent", { Name: rule.Name }); go(places.metaevents, { replace: true }); }}>
          <p>It goes with all it remembers: its windows, its timers and its last evaluations.</p>
        </Ask>
      )}
    </div>
  );
}
