// Lines and bars over time, drawn by uPlot in the page's colours; charts of one page share their cursor.
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import "../style/chart.css";
import { clock } from "../format";

export interface Line {
  label: string;
  color: string;
  values: (number | null)[];
  bars?: boolean;
  fill?: boolean;
  dash?: boolean;
  /** Points alone, without a line. */
  marks?: boolean;
}

interface Props {
  label: string;
  at: number[];
  lines: Line[];
  stepS: number;
  show: (value: number) => string;
  height?: number;
}

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Values between gaps, which no line leads to. */
function alone(plot: uPlot, series: number): number[] {
  const values = plot.data[series] ?? [];
  return [...values.keys()].filter((i) => values[i] != null && values[i - 1] == null && values[i + 1] == null);
}

function options(props: Props, width: number): uPlot.Options {
  const ink = css("--faint");
  // Marks stand on their moment, so bars do, too.
  const marked = props.lines.some((line) => line.marks);
  const grid = { stroke: css("--line"), width: 1 };
  const axis = { stroke: ink, grid, ticks: { show: false }, font: "11px system-ui, sans-serif", gap: 4 };
  return {
    width,
    height: props.height ?? 150,
    padding: [8, 18, 0, 0],
    cursor: { sync: { key: "time" }, points: { size: 6 }, y: false, drag: { x: false, y: false } },
    legend: { live: true },
    // A bar begins at its moment: the last one needs room behind it.
    scales: { x: { time: true, range: (_, min, max) => [min, max + props.stepS] }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, size: 22, space: 70,
        values: (_, splits) => splits.map((at) => clock(at).slice(0, 5)) },
      { ...axis, size: 58, space: 34, values: (_, splits) => splits.map((value) => props.show(value)) },
    ],
    series: [
      { label: "", value: (_, at) => (at === null ? "" : clock(at).slice(0, 5)) },
      ...props.lines.map((line): uPlot.Series => {
        const color = css(line.color);
        return {
          label: line.label,
          stroke: color,
          width: line.bars || line.marks ? 0 : 1.6,
          ...(line.bars || line.fill ? { fill: line.bars ? color : `${color}22` } : {}),
          ...(line.dash ? { dash: [4, 4] } : {}),
          ...(line.bars ? { paths: uPlot.paths.bars?.({ size: [0.82, 14], align: marked ? 0 : 1 }) as uPlot.Series.PathBuilder } : {}),
          ...(line.marks ? { paths: () => null } : {}),
          points: line.bars ? { show: false } : line.marks ? { show: true, size: 7, fill: color } : { show: true, size: 4, filter: alone },
          spanGaps: false,
          value: (_, value) => (value === null || value === undefined ? "–" : props.show(value)),
        };
      }),
    ],
  };
}

export default function Chart(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  latest.current = props;
  const plot = useRef<uPlot>(undefined);
  const shape = props.lines.map((line) => line.label).join();

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const draw = () => {
      plot.current?.destroy();
      const { at, lines } = latest.current;
      plot.current = new uPlot(options(latest.current, element.clientWidth || 400), [at, ...lines.map((line) => line.values)], element);
    };
    draw();
    const resized = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (plot.current && width && Math.abs(plot.current.width - width) > 1) plot.current.setSize({ width, height: latest.current.height ?? 150 });
    });
    resized.observe(element);
    const media = window.matchMedia("(prefers-color-scheme: dark)");
    window.addEventListener("forerun:theme", draw);
    media.addEventListener("change", draw);
    return () => {
      resized.disconnect();
      window.removeEventListener("forerun:theme", draw);
      media.removeEventListener("change", draw);
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [shape]);

  useEffect(() => {
    plot.current?.setData([props.at, ...props.lines.map((line) => line.values)]);
  }, [props.at, props.lines]);

  return <div ref={box} className="chart" role="img" aria-label={props.label} />;
}
