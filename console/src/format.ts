// Numbers and times as they are shown: short, of even width, never more exact than they are known.

const thin = "\u2009";

export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value < 0.005) return `0${thin}ms`;
  if (value < 0.95) return `${value.toFixed(2)}${thin}ms`;
  if (value < 9.95) return `${value.toFixed(1)}${thin}ms`;
  if (value < 999.5) return `${Math.round(value)}${thin}ms`;
  const s = value / 1000;
  if (s < 9.95) return `${s.toFixed(2)}${thin}s`;
  if (s < 99.5) return `${s.toFixed(1)}${thin}s`;
  return `${Math.floor(s / 60)}${thin}m ${Math.round(s % 60)}${thin}s`;
}

export function count(value: number): string {
  if (value < 10_000) return Math.round(value).toLocaleString("en-US");
  if (value < 999_500) return `${(value / 1000).toFixed(value < 99_950 ? 1 : 0)}k`;
  return `${(value / 1e6).toFixed(value < 99.95e6 ? 1 : 0)}M`;
}

/** A rate per second, from calls in so many seconds. */
export function rate(calls: number, seconds: number): string {
  const perS = calls / seconds;
  if (perS === 0) return "0";
  if (perS < 0.1) return `${count(perS * 60)}/min`;
  return perS < 9.95 ? `${perS.toFixed(1)}/s` : `${count(perS)}/s`;
}

export function perHour(value: number): string {
  return value >= 3600 ? rate(value, 3600) : value >= 60 ? `${count(value / 60)}/min` : `${count(value)}/h`;
}

export function share(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0%";
  const percent = value * 100;
  if (percent < 0.1) return "<0.1%";
  return percent < 9.95 && percent % 1 >= 0.05 ? `${percent.toFixed(1)}%` : `${Math.round(percent)}%`;
}

export function bytes(value: number): string {
  if (value < 1000) return `${value}${thin}B`;
  if (value < 1e6) return `${(value / 1e3).toFixed(1)}${thin}kB`;
  return `${(value / 1e6).toFixed(1)}${thin}MB`;
}

export function mb(value: number): string {
  return value >= 10_240 ? `${(value / 1024).toFixed(1)}${thin}GB` : `${count(value)}${thin}MB`;
}

/** How long ago, in one unit. */
export function ago(at: number, now: number): string {
  if (!at) return "–";
  const s = Math.max(0, now - at);
  if (s < 1.5) return "now";
  if (s < 60) return `${Math.round(s)}${thin}s`;
  if (s < 3600) return `${Math.round(s / 60)}${thin}min`;
  if (s < 86_400) return `${Math.round(s / 3600)}${thin}h`;
  return `${Math.round(s / 86_400)}${thin}d`;
}

const two = (n: number) => String(n).padStart(2, "0");

/** The local time of day to the millisecond. */
export function clock(at: number): string {
  const d = new Date(at * 1000);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, "0")}`;
}

/** Local date and time to the second. */
export function moment(at: number): string {
  const d = new Date(at * 1000);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(at).slice(0, 8)}`;
}

export const epoch = () => Date.now() / 1000;
