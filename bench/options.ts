import { parseArgs } from 'node:util';

export const areas = ['load', 'start', 'memory', 'archive', 'service'] as const;
export type Area = (typeof areas)[number];
export type Flavour = 'mysql' | 'mariadb';
export const flavours: readonly Flavour[] = ['mysql', 'mariadb'];

export interface BenchOptions {
  readonly areas: readonly Area[];
  readonly flavours: readonly Flavour[];
  /** Interleaved rounds of the loads. */
  readonly loadRuns: number;
  /** Interleaved rounds of the short programs. */
  readonly startRuns: number;
  readonly memoryRuns: number;
  /** Interleaved rounds of archiving and its peers. */
  readonly archiveRuns: number;
  readonly rows: number;
  /** Rows that are archived, out of twice as many. */
  readonly archiveRows: number;
  /** Rows of the larger source that memory is measured on. */
  readonly manyRows: number;
  /** Runs of the service one after the other. */
  readonly soakRuns: number;
  /** Only rows of the table whose name contains this. */
  readonly only: string | null;
  /** Leave the servers running, and use those that an earlier run left. */
  readonly keep: boolean;
}

export const usage = `npm run bench -- [load] [start] [memory] [archive] [service] [options]
  --server mysql|mariadb   only this server
  --runs N                 rounds of everything (default: 5 loads, 21 starts, 3 of archiving, 1 for memory)
  --rows N                 rows of the loads (default 1000000), rows to archive (default 200000)
  --many-rows N            rows of the larger memory run (default 10000000)
  --soak N                 runs of the service (default 10000)
  --only TEXT              only the rows of the table that contain the text; of archive: same server, two servers, row by row,
                           Parquet, purge, memory or foreground
  --keep                   leave the servers running for the next bench
`;

/** @throws Error for what it does not know. */
export function parseOptions(argv: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      server: { type: 'string' },
      runs: { type: 'string' },
      rows: { type: 'string' },
      'many-rows': { type: 'string', default: '10000000' },
      soak: { type: 'string', default: '10000' },
      only: { type: 'string' },
      keep: { type: 'boolean', default: false },
    },
  });
  const chosen = positionals.map((word) => pick(word, areas));
  const rows = (standard: number) => (values.rows === undefined ? standard : count('--rows', values.rows));
  const runs = (standard: number) => (values.runs === undefined ? standard : count('--runs', values.runs));
  return {
    areas: chosen.length === 0 ? areas : chosen,
    flavours: values.server === undefined ? flavours : [pick(values.server, flavours)],
    loadRuns: runs(5),
    startRuns: runs(21),
    memoryRuns: runs(1),
    archiveRuns: runs(3),
    rows: rows(1_000_000),
    archiveRows: rows(200_000),
    manyRows: count('--many-rows', values['many-rows']),
    soakRuns: count('--soak', values.soak),
    only: values.only ?? null,
    keep: values.keep,
  };
}

function pick<const T extends string>(given: string, known: readonly T[]): T {
  const found = known.find((name) => name === given);
  if (found === undefined) throw new Error(`${JSON.stringify(given)} is none of ${known.join(', ')}\n${usage}`);
  return found;
}

function count(flag: string, given: string): number {
  const number = Number(given);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new Error(`${flag} takes a whole number above 0, not ${given}`);
  return number;
}
