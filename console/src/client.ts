// Asking the server: JSON with errors that say what to do, data that is asked again while somebody looks, and events.
import { useCallback, useEffect, useRef, useState } from "react";

const API = "/console/api/";
const DEADLINE_MS = 20_000;

export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

type Answerer = (path: string, body?: unknown) => Promise<unknown>;
type Streamer = (path: string, take: (event: unknown) => void) => () => void;

// In development made-up data takes the server's place.
let fake: { answer: Answerer; stream: Streamer } | undefined;
export const pretend = (answer: Answerer, stream: Streamer) => {
  fake = { answer, stream };
};

export async function ask<T>(path: string, body?: unknown): Promise<T> {
  if (fake) return (await fake.answer(path, body)) as T;
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

/** Takes events as they come; the browser connects again by itself. Tells whether the stream is open. */
export function useStream<T>(path: string | null, take: (event: T) => void): boolean {
  const [open, setOpen] = useState(false);
  const current = useRef(take);
  current.current = take;
  useEffect(() => {
    if (path === null) return;
    if (fake) {
      setOpen(true);
      return fake.stream(path, (event) => current.current(event as T));
    }
    const source = new EventSource(API + path);
    source.onopen = () => setOpen(true);
    source.onerror = () => setOpen(false);
    source.onmessage = (event) => current.current(JSON.parse(event.data as string) as T);
    return () => {
      setOpen(false);
      source.close();
    };
  }, [path]);
  return open;
}
