// Asking the server: JSON with errors that say what to do, data that is asked again while somebody looks, and events.
import { useCallback, useEffect, useRef, useState } from "react";

const API = "/console/api/";
const DEADLINE_MS = 20_000;
const AGAIN_MS = 3_000;

export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export async function ask<T>(path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (body !== undefined) Object.assign(headers, { "content-type": "application/json", "x-forerun-console": "1" });
  let answer: Response;
  try {
    answer = await fetch(API + path, {
      headers,
      method: body === undefined ? "GET" : "POST",
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
  } catch {
    throw new Refusal(0, "The server does not answer. Is “forerun up” still running?");
  }
  const content: unknown = await answer.json().catch(() => null);
  if (!answer.ok) {
    const said = (content as { message?: string } | null)?.message;
    if (answer.status === 401) window.dispatchEvent(new Event("forerun:signed-out"));
    throw new Refusal(answer.status, said ?? `The server answered ${answer.status}.`);
  }
  return content as T;
}

export const query = (path: string, values: Record<string, string | number | undefined>): string => {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given.map(([k, v]) => [k, String(v)]))}` : path;
};

export interface Data<T> {
  data: T | undefined;
  error: Error | undefined;
  again: () => void;
}

/** What `path` answers, asked again every `everyS` seconds while the page is visible; nothing for `null`. */
export function useData<T>(path: string | null, everyS = 0): Data<T> {
  const [state, set] = useState<{ path: string | null; data?: T; error?: Error }>({ path: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (path === null) return;
    let ended = false;
    let timer = 0;
    const load = async () => {
      if (!document.hidden || turn === 0) {
        try {
          const data = await ask<T>(path);
          if (!ended) set({ path, data });
        } catch (error) {
          if (!ended)
            set((old) => ({ path, ...(old.path === path && old.data ? { data: old.data } : {}), error: error as Error }));
        }
      }
      if (!ended && everyS) timer = window.setTimeout(load, everyS * 1000);
    };
    void load();
    return () => {
      ended = true;
      window.clearTimeout(timer);
    };
  }, [path, everyS, turn]);
  const again = useCallback(() => setTurn((n) => n + 1), []);
  const own = state.path === path;
  return { data: own ? state.data : undefined, error: own ? state.error : undefined, again };
}

/**
 * Takes events as they come, and tells whether the stream is open. It is open only while the page is seen: a browser has
 * few connections to one server, and pages in the background would hold them all.
 */
export function useStream<T>(path: string, take: (event: T) => void): boolean {
  const [open, setOpen] = useState(false);
  const current = useRef(take);
  current.current = take;
  useEffect(() => {
    let source: EventSource | undefined;
    let timer = 0;
    const connect = () => {
      window.clearTimeout(timer);
      source?.close();
      source = undefined;
      setOpen(false);
      if (document.hidden) return;
      const fresh = new EventSource(API + path);
      source = fresh;
      fresh.onopen = () => setOpen(true);
      fresh.onerror = () => {
        setOpen(false);
        // Refused, not interrupted: the browser does not try again by itself.
        if (fresh.readyState === EventSource.CLOSED) {
          ask("me").catch(() => undefined);
          timer = window.setTimeout(connect, AGAIN_MS);
        }
      };
      fresh.onmessage = (event) => current.current(JSON.parse(event.data as string) as T);
    };
    connect();
    document.addEventListener("visibilitychange", connect);
    return () => {
      document.removeEventListener("visibilitychange", connect);
      window.clearTimeout(timer);
      source?.close();
    };
  }, [path]);
  return open;
}
