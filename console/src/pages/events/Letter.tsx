// One dead letter in full.
import type { ReactNode } from "react";
import { query, useData } from "../../client";
import { brief, local, pretty, spelled, type WholeLetter } from "../../events";
import { bytes } from "../../format";
import { Sheet, Trouble } from "../../parts/small";
import { Link, paths } from "../../route";
import { Block, Pairs, Thing } from "./Words";

// More of a payload is not drawn.
const SHOWN = 64 * 1024;

export function LetterView({ id, close, act }: { id: string; close: string; act: (what: "redrive" | "delete") => void }) {
  const { data, error, again } = useData<WholeLetter>(query("platform/dead-letter", { Id: id }));
  const text = data ? (data.Payload !== undefined ? pretty(data.Payload) : data.PayloadBase64 ?? "") : "";
  const detail = data ? spelled(data.Detail) : "";
  return (
    <Sheet title="Dead letter" className="aside" aside={<Link to={close} className="icon" aria-label="Close">×</Link>}>
      <div className="body stack">
        {error && <Trouble error={error} again={again} />}
        {data && (
          <>
            <div className="row wrap">
              <button type="button" className="btn main" onClick={() => act("redrive")}>Send again…</button>
              <button type="button" className="btn" onClick={() => act("delete")}>Delete…</button>
            </div>
            <div>
              <h3><span className="tag bad">{data.Reason}</span> {brief(data.Detail).slice(0, 200)}</h3>
              {detail !== brief(data.Detail) && <Block label="What was said">{detail}</Block>}
            </div>
            <Pairs of={[
              ["for", <Thing key="for" of={data.Target} />],
              ["from", data.Source ? <Thing key="from" of={data.Source} quiet /> : "an invocation"],
              ["sent", data.OccurredAt ? local(data.OccurredAt) : "–"],
              ["failed", `${local(data.FailedAt)}, after ${data.Attempts} ${data.Attempts === 1 ? "try" : "tries"}`],
              ["kept by", data.Shelf === "platform" ? "the platform" : <Thing key="shelf" of={data.Shelf} quiet />],
              ...(data.TraceId ? [["trace", <Link key="trace" className="mono" to={paths.trace(data.TraceId)}>{data.TraceId}</Link>] as [string, ReactNode]] : []),
              ...Object.entries(data.Attributes).map(([name, value]): [string, ReactNode] => [name, <span key={name} className="mono">{value}</span>]),
              ["id", <span key="id" className="mono">{data.Id}</span>],
            ]} />
            <div>
              <h3>Payload <span className="faint">{bytes(data.Bytes)}{data.PayloadBase64 !== undefined && ", not text: as Base64"}{text.length > SHOWN && ", the first part"}</span></h3>
              <Block label="Payload">{text.slice(0, SHOWN)}</Block>
            </div>
          </>
        )}
      </div>
    </Sheet>
  );
}
