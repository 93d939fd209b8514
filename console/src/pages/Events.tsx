// What starts functions, in four pages: sources, schedules, metaevents, and what could not be processed.
import { lazy, Suspense } from "react";
import { places } from "../events";
import { Empty } from "../parts/small";
import { Link } from "../route";
import "../style/events.css";
import "../style/function.css";

const Sources = lazy(() => import("./events/Sources"));
const Schedules = lazy(() => import("./events/Schedules"));
const Metaevents = lazy(() => import("./events/Metaevents"));
const MetaeventView = lazy(() => import("./events/Metaevent"));
const DeadLetters = lazy(() => import("./events/DeadLetters"));

const TABS: [string, string, string][] = [
  ["", "Sources", places.sources],
  ["schedules", "Schedules", places.schedules],
  ["metaevents", "Metaevents", places.metaevents],
  ["dead-letters", "Dead letters", places.letters],
];

function View({ tab, name }: { tab: string; name: string | undefined }) {
  if (tab === "") return <Sources />;
  if (tab === "schedules") return <Schedules />;
  if (tab === "metaevents") return name ? <MetaeventView key={name} name={name} /> : <Metaevents />;
  if (tab === "dead-letters") return <DeadLetters />;
  return <Empty title="There is no such page."><Link to={places.sources}>To the sources of events</Link></Empty>;
}

export default function Events({ tab = "", name }: { tab?: string | undefined; name?: string | undefined }) {
  return (
    <>
      {!name && <h1 className="vh">{TABS.find(([each]) => each === tab)?.[1] ?? "Events"}</h1>}
      <nav className="tabs first" aria-label="Events">
        {TABS.map(([each, title, to]) => (
          <Link key={each} to={to} {...(each === tab ? { "aria-current": "page" as const } : {})}>{title}</Link>
        ))}
      </nav>
      <Suspense fallback={<p className="wait">…</p>}>
        <div className="events"><View tab={tab} name={name} /></div>
      </Suspense>
    </>
  );
}
