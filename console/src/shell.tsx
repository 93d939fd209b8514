// What surrounds every page: where one is, who one is, the keys.
import { useCallback, useEffect, useRef, useState, type ReactNode } from "react";
import type { Me } from "./api";
import { ask } from "./client";
import { go, Link, paths, useRoute } from "./route";

const PAGES: [string, string, string][] = [
  ["Functions", paths.functions, "f"],
  ["Events", paths.events, "e"],
  ["Traces", paths.traces, "t"],
  ["Map", paths.map, "m"],
  ["Foresight", paths.foresight, "s"],
  ["Live", paths.live, "l"],
  ["Fleet", "/fleet", "a"],
  ["Host", paths.host, "h"],
];

/** Pages below one of the bar's. */
const BELOW: [string, string, string][] = [
  ["", "/events/schedules", "c"],
  ["", "/events/metaevents", "v"],
  ["", "/events/dead-letters", "x"],
];

const KEYS: [string[], string][] = [
  [["/"], "filter this page"],
  [["g", "f"], "functions; g e events, g t traces, g m map, g s foresight, g l live, g a fleet, g h host"],
  [["g", "c"], "schedules; g v metaevents, g x dead letters"],
  [["↑", "↓"], "move in a list or a trace; j and k, too"],
  [["Enter"], "open what is chosen"],
  [["←", "→"], "fold and unfold in a trace"],
  [["+", "−", "0"], "zoom in a trace or a map, and back"],
  [["Space"], "pause and go on in the live tail; choose a line of dead letters"],
  [["d"], "dark or light"],
  [["Esc"], "leave a field, close"],
];

function currentPage(first: string | undefined): string {
  if (first === undefined || first === "functions") return paths.functions;
  return `/${first}`;
}

function useTheme(): () => void {
  return useCallback(() => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : window.matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("forerun.theme", root.dataset.theme);
    window.dispatchEvent(new Event("forerun:theme"));
  }, []);
}

const writing = (target: EventTarget | null) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName));

function useKeys(help: () => void, theme: () => void): void {
  useEffect(() => {
    let leader = 0;
    const press = (event: KeyboardEvent) => {
      if (event.metaKey || event.ctrlKey || event.altKey || writing(event.target)) return;
      if (Date.now() - leader < 1200) {
        leader = 0;
        const page = [...PAGES, ...BELOW].find(([, , key]) => key === event.key);
        if (page) {
          event.preventDefault();
          go(page[1]);
          return;
        }
      }
      if (event.key === "g") leader = Date.now();
      else if (event.key === "?") help();
      else if (event.key === "d") theme();
      else if (event.key === "/") {
        const field = document.querySelector<HTMLInputElement>("[data-search]");
        if (field) {
          event.preventDefault();
          field.focus();
          field.select();
        }
      }
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [help, theme]);
}

export function Mark() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#16232b" />
      <path d="M7 10.5h11" stroke="var(--warm)" strokeWidth="3.2" strokeLinecap="round" />
      <path d="M11 16h14" stroke="#f4efe4" strokeWidth="3.2" strokeLinecap="round" />
      <path d="M7 21.5h7" stroke="var(--zygote)" strokeWidth="3.2" strokeLinecap="round" />
    </svg>
  );
}

export function Shell({ me, children }: { me: Me; children: ReactNode }) {
  const route = useRoute();
  const theme = useTheme();
  const dialog = useRef<HTMLDialogElement>(null);
  const help = useCallback(() => (dialog.current?.open ? dialog.current.close() : dialog.current?.showModal()), []);
  const [left, setLeft] = useState(false);
  useKeys(help, theme);
  const here = currentPage(route.parts[0]);
  const title = [route.parts[0] === "functions" ? route.parts[1] : PAGES.find(([, to]) => to === here)?.[0], "Forerun"];
  useEffect(() => {
    document.title = title.filter(Boolean).join(" · ");
  });
  const leave = async () => {
    await ask("leave", {});
    setLeft(true);
  };
  if (left) return <SignIn left />;
  return (
    <>
      <a className="skip" href="#content">To the content</a>
      <header className="top">
        <Link to={paths.functions} className="mark" aria-label="Forerun, functions"><Mark /><span>Forerun</span></Link>
        <nav aria-label="Pages">
          {PAGES.map(([name, to]) => (
            <Link key={to} to={to} {...(to === here ? { "aria-current": "page" as const } : {})}>{name}</Link>
          ))}
        </nav>
        <div className="right">
          <span className="who" title={`${me.principal}\naccount ${me.account}, ${me.region}`}>{me.host} · {me.principal.split(":").pop()}</span>
          <button type="button" className="icon" onClick={theme} aria-label="Dark or light" title="Dark or light (d)">
            <svg viewBox="0 0 20 20"><circle cx="10" cy="10" r="6.5" /><path d="M10 3.5a6.5 6.5 0 0 1 0 13z" fill="currentColor" /></svg>
          </button>
          <button type="button" className="icon" onClick={help} aria-label="Keys" title="Keys (?)">
            <svg viewBox="0 0 20 20"><path d="M7.6 7.4a2.5 2.5 0 1 1 3.6 2.3c-.8.4-1.2.9-1.2 1.8M10 14.6v.1" /></svg>
          </button>
          <button type="button" className="icon" onClick={() => void leave()} aria-label="Sign out" title="Sign out">
            <svg viewBox="0 0 20 20"><path d="M8 4H4.5v12H8M12 6.5l3.5 3.5-3.5 3.5M15 10H8" /></svg>
          </button>
        </div>
      </header>
      <main id="content" tabIndex={-1}>{children}</main>
      <dialog ref={dialog} aria-label="Keys" onClick={(event) => event.target === dialog.current && dialog.current?.close()}>
        <h2>Keys</h2>
        <dl>
          {KEYS.map(([keys, text]) => (
            <div key={text} style={{ display: "contents" }}>
              <dt>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt>
              <dd>{text}</dd>
            </div>
          ))}
        </dl>
      </dialog>
    </>
  );
}

/** For whoever has no session here: how to get one. */
export function SignIn({ left = false }: { left?: boolean }) {
  return (
    <main style={{ display: "grid", placeItems: "center", minHeight: "80vh" }}>
      <div className="sheet empty" style={{ maxWidth: 520 }}>
        <div className="mark"><Mark />Forerun</div>
        <h3>{left ? "You have signed out." : "You are not signed in here."}</h3>
        <p>On the machine where the server runs, or wherever its keys are set, ask for a link and open it. It works once, within a minute, and signs you in as the owner of the key.</p>
        <pre className="mono">forerun console</pre>
      </div>
    </main>
  );
}
