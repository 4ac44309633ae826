import { makeSource, tableSql } from '../data.ts';
import type { BenchOptions } from '../options.ts';
import { runLoader } from '../programs.ts';
import { Measurements, type ReportRow } from '../report.ts';
import type { BenchServer } from '../servers.ts';

const limitMiB = 150;
const spreadMax = 0.2;
const works = ['first load by swap', 'first load, direct', 'unchanged reload', '1 % changed'] as const;

/** Peak resident memory of the loader for few and for many rows: it must not grow with the source. */
export async function benchMemory(
  servers: readonly BenchServer[],
  options: BenchOptions,
): Promise<readonly ReportRow[]> {
  const rows: ReportRow[] = [];
  for (const server of servers) {
    const measurements = new Measurements();
    for (let round = 0; round < options.memoryRuns; round++)
      for (const count of [options.rows, options.manyRows]) await measure(server, count, measurements);
    rows.push(...works.map((work) => report(server, work, options, measurements)).filter((row) => row !== null));
  }
  return rows;
}

async function measure(server: BenchServer, count: number, measurements: Measurements): Promise<void> {
  const source = await makeSource(count, 'first');
  const changed = await makeSource(count, 'changed');
  const run = async (work: (typeof works)[number], path: string, settings: readonly string[]) => {
    const all = ['maxPublishRows: 1000000000', ...settings];
    const { peakMiB, seconds, table } = await runLoader(server, { source: path, settings: all, measureMemory: true });
    if (table.read !== count) throw new Error(`${table.read} rows were read of ${count}`);
    measurements.add(`${work} ${count}`, peakMiB ?? Number.NaN);
    console.error(`${server.flavour}, ${work}, ${count} rows: ${peakMiB?.toFixed(0)} MiB, ${seconds.toFixed(1)} s`);
  };
  await server.ask('DROP TABLE IF EXISTS products', tableSql);
  await run('first load, direct', source, ['publish: direct']);
  await server.ask('DROP TABLE IF EXISTS products', tableSql);
  await run('first load by swap', source, ['publish: swap']);
  await run('unchanged reload', source, []);
  await run('1 % changed', changed, []);
}

function report(
  { flavour }: BenchServer,
  work: string,
  { rows, manyRows }: BenchOptions,
  measurements: Measurements,
): ReportRow | null {
  const few = measurements.median(`${work} ${rows}`);
  const many = measurements.median(`${work} ${manyRows}`);
  if (few === null || many === null) return null;
  const ratio = many / few;
  const met = Math.max(few, many) <= limitMiB && Math.abs(ratio - 1) <= spreadMax;
  return {
    work: `peak memory, ${work}`,
    server: flavour,
    ours: `${many.toFixed(0)} MiB for ${manyRows.toLocaleString('en')} rows`,
    peer: `${few.toFixed(0)} MiB for ${rows.toLocaleString('en')} rows`,
    ratio: `${ratio.toFixed(2)}×`,
    target: `≤ ${limitMiB} MiB, within ${spreadMax * 100} %`,
    met,
  };
}
