// A list of any length. Lines have one height and only those in sight exist; arrows move, Enter opens.
import { useEffect, useLayoutEffect, useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import { go } from "../route";

export interface Column<T> {
  id: string;
  title: string;
  width: string;
  cell: (item: T) => ReactNode;
  /** Given, the list can be ordered by it. */
  by?: (item: T) => number | string;
  num?: boolean;
  hint?: string;
}

interface Props<T> {
  label: string;
  items: T[];
  columns: Column<T>[];
  id: (item: T) => string;
  href?: (item: T) => string | undefined;
  height?: number;
  /** Pixels of the list; without it, it fills the window. */
  room?: number;
  sort?: { id: string; down: boolean };
  onSort?: (sort: { id: string; down: boolean }) => void;
  empty: ReactNode;
  /** What is listed, in a word: when it changes, the list begins at its top again. */
  about?: string;
  onEnd?: () => void;
  /** A key that the list does not know, on a line; true when it was meant. */
  onKey?: (key: string, item: T) => boolean;
}

const SPARE = 6;

export function sorted<T>(items: T[], columns: Column<T>[], sort: { id: string; down: boolean }): T[] {
  const by = columns.find((column) => column.id === sort.id)?.by;
  if (!by) return items;
  const sign = sort.down ? -1 : 1;
  return [...items].sort((a, b) => {
    const x = by(a);
    const y = by(b);
    return sign * (typeof x === "string" ? x.localeCompare(String(y)) : x - Number(y));
  });
}

export function List<T>(props: Props<T>) {
  const { items, columns, id, href, height = 34, sort, onSort, room, onEnd } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const [active, setActive] = useState<string | null>(null);
  const at = items.findIndex((item) => id(item) === active);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const measure = () => {
      const height = room ?? Math.max(220, window.innerHeight - element.getBoundingClientRect().top - window.scrollY - 22);
      element.style.height = `${height}px`;
      setView((old) => ({ ...old, height }));
    };
    measure();
    const late = window.setTimeout(measure, 50);
    window.addEventListener("resize", measure);
    return () => {
      window.clearTimeout(late);
      window.removeEventListener("resize", measure);
    };
  }, [room, items.length === 0]);

  useLayoutEffect(() => {
    if (box.current) box.current.scrollTop = 0;
    setView((old) => ({ ...old, top: 0 }));
  }, [props.about, sort?.id, sort?.down]);

  const first = Math.max(0, Math.floor(view.top / height) - SPARE);
  const last = Math.min(items.length, Math.ceil((view.top + view.height) / height) + SPARE);
  useEffect(() => {
    if (onEnd && items.length > 0 && last === items.length) onEnd();
  }, [onEnd, last, items.length]);

  const move = (to: number) => {
    const index = Math.min(items.length - 1, Math.max(0, to));
    const item = items[index];
    const element = box.current;
    if (!item || !element) return;
    setActive(id(item));
    const y = index * height;
    if (y < element.scrollTop) element.scrollTop = y;
    else if (y + height > element.scrollTop + element.clientHeight) element.scrollTop = y + height - element.clientHeight;
  };
  const open = (item: T | undefined) => {
    const to = item && href?.(item);
    if (to) go(to);
  };
  const key = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor(view.height / height) - 1);
    const steps: Record<string, number> = {
      ArrowDown: at + 1, j: at + 1, ArrowUp: at < 0 ? 0 : at - 1, k: at < 0 ? 0 : at - 1,
      PageDown: at + page, PageUp: at - page, Home: 0, End: items.length - 1,
    };
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const to = steps[event.key];
    if (to !== undefined) move(to);
    else if (event.target !== event.currentTarget) return;
    else if (event.key === "Enter") open(items[at]);
    else if (!items[at] || !props.onKey?.(event.key, items[at])) return;
    event.preventDefault();
  };

  const template = columns.map((column) => column.width).join(" ");
  return (
    <div role="grid" className="list" aria-label={props.label} aria-rowcount={items.length + 1} tabIndex={items.length ? 0 : -1} data-list
      onKeyDown={key} onFocus={(event) => event.target === event.currentTarget && at < 0 && move(first === 0 ? 0 : first + SPARE)}
      {...(at >= first && at < last ? { "aria-activedescendant": `line-${at}` } : {})}>
      <div className="grid-head" role="row" aria-rowindex={1} style={{ gridTemplateColumns: template }}>
        {columns.map((column) => {
          const on = sort?.id === column.id;
          return (
            <div key={column.id} role="columnheader" className={column.num ? "num" : ""} title={column.hint}
              {...(on ? { "aria-sort": sort.down ? ("descending" as const) : ("ascending" as const) } : {})}>
              {column.by && onSort ? (
                <button type="button" onClick={() => onSort({ id: column.id, down: on ? !sort.down : typeof column.by?.(items[0] as T) !== "string" })}>
                  {column.title}
                  {on ? (sort.down ? " ↓" : " ↑") : ""}
                </button>
              ) : (
                column.title
              )}
            </div>
          );
        })}
      </div>
      {items.length === 0 ? (
        props.empty
      ) : (
        <div ref={box} className="grid" role="rowgroup"
          onScroll={(event) => setView({ top: event.currentTarget.scrollTop, height: event.currentTarget.clientHeight })}>
          <div style={{ height: items.length * height }} role="presentation" />
          {items.slice(first, last).map((item, offset) => {
            const index = first + offset;
            const to = href?.(item);
            return (
              <div key={id(item)} id={`line-${index}`} role="row" aria-rowindex={index + 2} aria-selected={index === at}
                className={index === at ? "line active" : "line"} data-id={id(item)}
                {...(to ? { "data-href": to } : {})}
                style={{ top: index * height, height, gridTemplateColumns: template }}
                onClick={(event) => {
                  setActive(id(item));
                  if (!(event.target as HTMLElement).closest("a,button,input") && !window.getSelection()?.toString()) open(item);
                }}>
                {columns.map((column) => (
                  <div key={column.id} role="gridcell" className={column.num ? "num clip" : "clip"}>{column.cell(item)}</div>
                ))}
              </div>
            );
          })}
        </div>
      )}
    </div>
  );
}
