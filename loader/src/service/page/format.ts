import { type Html, html } from './html.ts';

const units = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
] as const;

/** `12 s`, `3 min`, `2 h 5 min`, `4 d 2 h`; fractions under ten seconds with tenths. */
export function duration(seconds: number): string {
  if (seconds < 9.95 && !Number.isInteger(seconds)) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  for (const [index, [size, name]] of units.entries()) {
    if (whole < size) continue;
    const [nextSize = 1, nextName = 's'] = units[index + 1] ?? [];
    const rest = Math.floor((whole % size) / nextSize);
    const more = rest > 0 && index < units.length - 1 ? ` ${rest} ${nextName}` : '';
    return `${Math.floor(whole / size)} ${name}${more}`;
  }
  return `${whole} s`;
}

/** How long ago, or how soon, by the largest units; the script of the page keeps it current. */
export function relative(at: string, nowMs: number): string {
  const seconds = (Date.parse(at) - nowMs) / 1000;
  if (Math.abs(seconds) < 60) return seconds > 0 ? 'within a minute' : 'just now';
  const text = duration(Math.floor(Math.abs(seconds) / 60) * 60);
  return seconds > 0 ? `in ${text}` : `${text} ago`;
}

/** A time that says how far off it is, with the moment itself beside it for whoever points at it. */
export function time(at: string | null, nowMs: number, otherwise = 'never'): Html {
  if (at === null) return html`<span class="none">${otherwise}</span>`;
  return html`<time datetime="${at}" title="${at.slice(0, 19).replace('T', ' ')} UTC">${relative(at, nowMs)}</time>`;
}

/** `1 run`, `2 runs`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

/** `1,234,567` */
export function grouped(count: number): string {
  return String(Math.round(count)).replaceAll(/\B(?=(?:\d{3})+$)/g, ',');
}
