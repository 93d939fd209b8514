// Which page is shown: paths below /console, by the browser's own history.
import { useSyncExternalStore, type AnchorHTMLAttributes, type MouseEvent, type ReactNode } from "react";

const BASE = "/console";
const CHANGED = "forerun:route";

export interface Route {
  parts: string[];
  query: URLSearchParams;
}

let cached = { href: "", route: { parts: [] as string[], query: new URLSearchParams() } as Route };

function read(): Route {
  const { pathname, search } = window.location;
  const href = pathname + search;
  if (cached.href !== href) {
    const parts = pathname.slice(BASE.length).split("/").filter(Boolean).map(decodeURIComponent);
    cached = { href, route: { parts, query: new URLSearchParams(search) } };
  }
  return cached.route;
}

function subscribe(listen: () => void): () => void {
  window.addEventListener("popstate", listen);
  window.addEventListener(CHANGED, listen);
  return () => {
    window.removeEventListener("popstate", listen);
    window.removeEventListener(CHANGED, listen);
  };
}

export const useRoute = (): Route => useSyncExternalStore(subscribe, read);

export function go(to: string, { replace = false } = {}): void {
  const href = BASE + to;
  if (href === window.location.pathname + window.location.search) return;
  if (replace) window.history.replaceState(null, "", href);
  else window.history.pushState(null, "", href);
  if (!replace) window.scrollTo(0, 0);
  window.dispatchEvent(new Event(CHANGED));
}

/** Change some of the query and keep the rest; empty values are left out. */
export function setQuery(changes: Record<string, string>): void {
  const { pathname, search } = window.location;
  const query = new URLSearchParams(search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  go(pathname.slice(BASE.length) + (text ? `?${text}` : ""), { replace: true });
}

type Props = { to: string; children?: ReactNode } & Omit<AnchorHTMLAttributes<HTMLAnchorElement>, "href">;

export function Link({ to, children, onClick, ...rest }: Props) {
  const click = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go(to);
  };
  return (
    <a href={BASE + to} onClick={click} {...rest}>
      {children}
    </a>
  );
}

export const paths = {
  functions: "/",
  function: (name: string, tab = "") => `/functions/${encodeURIComponent(name)}${tab ? `?tab=${tab}` : ""}`,
  events: "/events",
  traces: "/traces",
  trace: (id: string) => `/traces/${id}`,
  map: "/map",
  foresight: "/foresight",
  live: "/live",
  host: "/host",
};
