/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Measurements by name, in the order of their first. */
export class Measurements {
  readonly #values = new Map<string, number[]>();

  add(name: string, value: number): void {
    const values = this.#values.get(name);
    if (values) values.push(value);
    else this.#values.set(name, [value]);
  }

  /** Null if nothing was measured under the name. */
  median(name: string): number | null {
    const values = this.#values.get(name);
    return values === undefined ? null : median(values);
  }

  /** `3.1–3.6`, to judge how far the median can be trusted. */
  spread(name: string, digits: number, scale: number): string {
    const values = (this.#values.get(name) ?? []).map((value) => value * scale);
    return `${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)}`;
  }
}

/** One line of the result. */
export interface ReportRow {
  readonly work: string;
  readonly server: string;
  /** Median and spread with the unit. */
  readonly ours: string;
  readonly peer: string;
  readonly ratio: string;
  readonly target: string;
  /** Null where there is no target. */
  readonly met: boolean | null;
}

const header = ['work', 'server', 'ours', 'compared with', 'ratio', 'target', 'met'];

/** The result as a Markdown table. */
export function markdownTable(rows: readonly ReportRow[]): string {
  const lines = rows.map((row) => [
    row.work,
    row.server,
    row.ours,
    row.peer,
    row.ratio,
    row.target,
    row.met === null ? '–' : row.met ? 'yes' : '**no**',
  ]);
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...lines.map(line)].join('\n');
}

export interface Target {
  readonly limit: number;
  /** atLeast: the peer's time divided by ours; atMost: ours divided by the peer's. */
  readonly direction: 'atLeast' | 'atMost';
}

/** One line that compares two medians; null unless both were measured. */
export function compare(
  measurements: Measurements,
  names: { readonly work: string; readonly server: string; readonly ours: string; readonly peer: string },
  peerLabel: string,
  target: Target | null,
  unit: { readonly name: string; readonly scale: number; readonly digits: number },
): ReportRow | null {
  const ours = measurements.median(names.ours);
  const peer = measurements.median(names.peer);
  if (ours === null || peer === null) return null;
  const faster = target?.direction === 'atLeast';
  const ratio = faster ? peer / ours : ours / peer;
  const figure = (value: number, name: string) =>
    `${(value * unit.scale).toFixed(unit.digits)} ${unit.name} (${measurements.spread(name, unit.digits, unit.scale)})`;
  return {
    work: names.work,
    server: names.server,
    ours: figure(ours, names.ours),
    peer: `${peerLabel}: ${figure(peer, names.peer)}`,
    ratio: faster ? `${ratio.toFixed(2)}× as fast` : `${ratio.toFixed(2)}× its time`,
    target: target === null ? '–' : `${faster ? '≥' : '≤'} ${target.limit}×`,
    met: target === null ? null : faster ? ratio >= target.limit : ratio <= target.limit,
  };
}
