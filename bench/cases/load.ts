import { changedRows, makeSource, tableSql } from '../data.ts';
import type { BenchOptions } from '../options.ts';
import { loadByClient } from '../peers/client.ts';
import { timed } from '../process.ts';
import { databaseEnv, node, runLoader, type TableSummary } from '../programs.ts';
import { compare, Measurements, type ReportRow } from '../report.ts';
import type { BenchServer } from '../servers.ts';

interface LoadBench {
  readonly server: BenchServer;
  readonly rows: number;
  readonly first: string;
  readonly changed: string;
  /** What CHECKSUM TABLE says after the server's own client has loaded each source. */
  readonly checksums: { readonly first: string; readonly changed: string };
  readonly measurements: Measurements;
}

interface Step {
  readonly name: string;
  /** What is in the table before. */
  readonly before: 'empty' | 'first';
  readonly localInfile: boolean;
  /** Loads, checks what was reported, and returns the seconds. */
  run(bench: LoadBench): Promise<number>;
  readonly after: 'first' | 'changed';
}

const insertLoop = new URL('../peers/insert-loop.ts', import.meta.url).pathname;

const steps: readonly Step[] = [
  {
    name: 'client',
    before: 'empty',
    localInfile: true,
    after: 'first',
    run: async ({ server, first }) => await loadByClient(server, first),
  },
  firstLoad('swap', 'swap', true),
  firstLoad('direct', 'direct', true),
  {
    name: 'unchanged',
    before: 'first',
    localInfile: true,
    after: 'first',
    run: async (bench) => {
      const { seconds, table } = await runLoader(bench.server, { source: bench.first });
      expectCounts(table, { inserted: 0, updated: 0, deleted: 0, unchanged: bench.rows });
      return seconds;
    },
  },
  {
    name: 'changed',
    before: 'first',
    localInfile: true,
    after: 'changed',
    run: async (bench) => {
      const { seconds, table } = await runLoader(bench.server, { source: bench.changed });
      const updated = changedRows(bench.rows);
      expectCounts(table, { inserted: 0, updated, deleted: 0, unchanged: bench.rows - updated });
      return seconds;
    },
  },
  {
    name: 'loop',
    before: 'empty',
    localInfile: false,
    after: 'first',
    run: async ({ server, first }) => (await timed(node, [insertLoop, first], databaseEnv(server))).seconds,
  },
  firstLoad('swap by INSERT', 'swap', false),
  firstLoad('direct by INSERT', 'direct', false),
];

function firstLoad(name: string, publish: 'swap' | 'direct', localInfile: boolean): Step {
  return {
    name,
    before: 'empty',
    localInfile,
    after: 'first',
    run: async ({ server, first, rows }) => {
      const { seconds, table } = await runLoader(server, { source: first, settings: [`publish: ${publish}`] });
      if (table.publish !== publish) throw new Error(`published by ${table.publish}, not by ${publish}`);
      expectCounts(table, { inserted: rows, updated: 0, deleted: 0, unchanged: 0 });
      return seconds;
    },
  };
}

/** Loads by the loader and its peers in turn, and compares the medians. */
export async function benchLoad(servers: readonly BenchServer[], options: BenchOptions): Promise<readonly ReportRow[]> {
  const first = await makeSource(options.rows, 'first');
  const changed = await makeSource(options.rows, 'changed');
  const benches: LoadBench[] = [];
  for (const server of servers) {
    const checksums = { first: await clientChecksum(server, first), changed: await clientChecksum(server, changed) };
    benches.push({ server, rows: options.rows, first, changed, checksums, measurements: new Measurements() });
  }
  const chosen = steps.filter(({ name }) => wanted(name, options.only));
  for (let round = 0; round < options.loadRuns; round++) {
    // Each round begins with another step, so that none always follows the same one.
    const shift = (round * 3) % Math.max(1, chosen.length);
    for (const step of [...chosen.slice(shift), ...chosen.slice(0, shift)]) {
      for (const bench of benches) await measure(step, bench, round);
    }
  }
  return benches.flatMap(report);
}

function wanted(name: string, only: string | null): boolean {
  return only === null || name.includes(only) || (name === 'client' && !only.includes('loop'));
}

async function measure(step: Step, bench: LoadBench, round: number): Promise<void> {
  const { server, checksums, measurements } = bench;
  await server.ask(`SET GLOBAL local_infile = ${step.localInfile || step.before === 'first' ? 1 : 0}`);
  if (step.before === 'empty' || (await checksum(server)) !== checksums.first) {
    await emptyTable(server);
    if (step.before === 'first') await loadByClient(server, bench.first);
  }
  const seconds = await step.run(bench);
  if ((await checksum(server)) !== checksums[step.after])
    throw new Error(`${server.flavour}, ${step.name}: the table is not what the client makes of the source`);
  measurements.add(step.name, seconds);
  console.error(`round ${round + 1}, ${server.flavour}, ${step.name}: ${seconds.toFixed(2)} s`);
}

async function emptyTable(server: BenchServer): Promise<void> {
  await server.ask('DROP TABLE IF EXISTS products', tableSql);
}

async function clientChecksum(server: BenchServer, path: string): Promise<string> {
  await emptyTable(server);
  await loadByClient(server, path);
  return await checksum(server);
}

/** Changes with any value of any row. Empty if there is no table. */
async function checksum(server: BenchServer): Promise<string> {
  const row = await server.ask('CHECKSUM TABLE products');
  const count = row?.['Checksum'] === null ? null : await server.ask('SELECT COUNT(*) AS count FROM products');
  return count === null ? '' : `${row?.['Checksum']} of ${count['count']} rows`;
}

function expectCounts(
  table: TableSummary,
  expected: Pick<TableSummary, 'inserted' | 'updated' | 'deleted' | 'unchanged'>,
): void {
  const { inserted, updated, deleted, unchanged } = table;
  const found = JSON.stringify({ inserted, updated, deleted, unchanged });
  if (found !== JSON.stringify(expected)) throw new Error(`${found} instead of ${JSON.stringify(expected)}`);
}

function report({ server, rows, measurements }: LoadBench): readonly ReportRow[] {
  const unit = { name: 's', scale: 1, digits: 1 };
  const client = `${server.flavour === 'mysql' ? 'mysql' : 'mariadb'} client, LOAD DATA LOCAL`;
  const loop = 'csv-parse and 2,000-row INSERT … ON DUPLICATE KEY UPDATE';
  const many = `${rows.toLocaleString('en')} rows`;
  const line = (work: string, ours: string, peer: string, limit: number, direction: 'atLeast' | 'atMost') =>
    compare(
      measurements,
      { work, server: server.flavour, ours, peer },
      peer === 'loop' ? loop : client,
      { limit, direction },
      unit,
    );
  return [
    line(`first load of ${many} by swap`, 'swap', 'client', 1.8, 'atLeast'),
    line(`first load of ${many}, direct`, 'direct', 'client', 1, 'atLeast'),
    line(`the same with local_infile off, by swap`, 'swap by INSERT', 'loop', 1.5, 'atLeast'),
    line(`the same with local_infile off, direct`, 'direct by INSERT', 'loop', 1, 'atLeast'),
    line('unchanged reload, full comparison, 0 rows written', 'unchanged', 'client', 0.45, 'atMost'),
    line('1 % of rows changed, exactly those written', 'changed', 'client', 0.6, 'atMost'),
  ].filter((row) => row !== null);
}
