import { Component, lazy, StrictMode, Suspense, useEffect, useState, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import type { Me } from "./api";
import { Refusal, useData } from "./client";
import { Empty, Trouble } from "./parts/small";
import { Functions } from "./pages/Functions";
import { Link, paths, useRoute } from "./route";
import { Shell, SignIn } from "./shell";
import "./style/tokens.css";
import "./style/page.css";
import "./style/list.css";

const FunctionView = lazy(() => import("./pages/Function"));
const Events = lazy(() => import("./pages/Events"));
const Traces = lazy(() => import("./pages/Traces"));
const TraceView = lazy(() => import("./pages/Trace"));
const MapView = lazy(() => import("./pages/Map"));
const Foresight = lazy(() => import("./pages/Foresight"));
const Live = lazy(() => import("./pages/Live"));
const Fleet = lazy(() => import("./pages/Fleet"));
const Host = lazy(() => import("./pages/Host"));

/** A fault of a page must not take the others with it. */
class Guard extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state = { error: null as Error | null };
  static getDerivedStateFromError(error: Error) {
    return { error };
  }
  override render() {
    if (!this.state.error) return this.props.children;
    return <Trouble error={new Error(`This page failed: ${this.state.error.message}`)} again={() => this.setState({ error: null })} />;
  }
}

function Page({ me }: { me: Me }) {
  const { parts } = useRoute();
  const [first, second, third] = parts;
  if (first === undefined || (first === "functions" && !second)) return <Functions />;
  if (first === "functions" && second) return <FunctionView key={second} name={second} me={me} />;
  if (first === "events") return <Events tab={second} name={third} />;
  if (first === "traces") return second ? <TraceView key={second} id={second} /> : <Traces />;
  if (first === "map") return <MapView />;
  if (first === "foresight") return <Foresight />;
  if (first === "live") return <Live />;
  if (first === "fleet") return <Fleet />;
  if (first === "host") return <Host />;
  return <Empty title="There is no such page."><Link to={paths.functions}>To the functions</Link></Empty>;
}

function Console() {
  const { data: me, error, again } = useData<Me>("me");
  const [out, setOut] = useState(false);
  const { parts } = useRoute();
  useEffect(() => {
    const signedOut = () => setOut(true);
    window.addEventListener("forerun:signed-out", signedOut);
    return () => window.removeEventListener("forerun:signed-out", signedOut);
  }, []);
  if (out || (error instanceof Refusal && error.status === 401)) return <SignIn />;
  if (error) return <main><Trouble error={error} again={again} /></main>;
  if (!me) return null;
  return (
    <Shell me={me}>
      <Guard key={parts.join("/")}>
        <Suspense fallback={<p className="wait">…</p>}>
          <Page me={me} />
        </Suspense>
      </Guard>
    </Shell>
  );
}

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <Console />
  </StrictMode>,
);
