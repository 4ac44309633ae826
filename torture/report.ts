import type { Finding, FindingKind } from './findings.ts';

const kinds = ['lost', 'doubled', 'altered', 'refused', 'untidy'] as const satisfies readonly FindingKind[];

/** What came of the points of one verb on one server and store. */
export class Tally {
  readonly part: string;
  readonly verb: string;
  readonly server: string;
  readonly store: string;
  points = 0;
  struck = 0;
  converged = 0;
  readonly found: Record<FindingKind, number> = { lost: 0, doubled: 0, altered: 0, refused: 0, untidy: 0 };

  constructor(part: string, verb: string, server: string, store: string) {
    this.part = part;
    this.verb = verb;
    this.server = server;
    this.store = store;
  }

  add(struck: boolean, findings: readonly Finding[]): void {
    this.points++;
    if (struck) this.struck++;
    if (findings.length === 0) this.converged++;
    // A point counts once in each column, however many rows it is about.
    for (const kind of kinds) if (findings.some((each) => each.kind === kind)) this.found[kind]++;
  }

  get clean(): boolean {
    return this.converged === this.points;
  }
}

const header = ['part', 'verb', 'server', 'store', 'points', 'struck', 'converged', ...kinds];

/** The table as Markdown, with the sums as its last line. */
export function reportTable(tallies: readonly Tally[]): string {
  const sum = new Tally('all', '', '', '');
  for (const tally of tallies) {
    sum.points += tally.points;
    sum.struck += tally.struck;
    sum.converged += tally.converged;
    for (const kind of kinds) sum.found[kind] += tally.found[kind];
  }
  const cells = [...tallies, sum].map((tally) => [
    ...[tally.part, tally.verb, tally.server, tally.store],
    ...[tally.points, tally.struck, tally.converged, ...kinds.map((kind) => tally.found[kind])].map(String),
  ]);
  return markdown(header, cells);
}

/** Cells are padded, so that the table is read as it is too. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((name, index) => Math.max(name.length, ...rows.map((row) => row[index]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(' | ')} |`;
  return [line(head), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...rows.map(line)].join('\n');
}
