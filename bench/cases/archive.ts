import {
  type Archiving,
  archiveByLoader,
  type Destination,
  loadAfresh,
  purgeByLoader,
  startArchiving,
} from '../archiving.ts';
import type { BenchOptions } from '../options.ts';
import { findPtArchiver } from '../peers/pt-archiver.ts';
import { compare, Measurements, type ReportRow } from '../report.ts';
import { type BenchServer, startServer } from '../servers.ts';
import { benchForeground } from './archive-foreground.ts';
import { rowsRowByRow, type Step, steps } from './archive-steps.ts';

const limitMiB = 180;
const memorySpreadMax = 0.2;
/** How many times as many rows the larger run for peak memory has. */
const manyTimes = 10;

/** Archives and purges by the loader and by its peers in turn, checks what came of it each time, and compares the medians. */
export async function benchArchive(
  servers: readonly BenchServer[],
  options: BenchOptions,
): Promise<readonly ReportRow[]> {
  const wanted = (work: string) => options.only === null || work.includes(options.only);
  const chosen = steps.filter((step) => step.works.some(wanted));
  const needsTwo = wanted('memory') || chosen.some(({ name }) => name.startsWith('two servers'));
  const rows: ReportRow[] = [];
  const archiveServers = new Map<BenchServer, BenchServer>();
  try {
    if (needsTwo)
      for (const server of servers)
        archiveServers.set(server, await startServer(server.flavour, options.keep, 'archive'));
    const start = async (server: BenchServer, count: number) =>
      await startArchiving(server, archiveServers.get(server) ?? null, count);
    if (chosen.length > 0) rows.push(...(await benchSteps(servers, chosen, options, start)));
    if (wanted('foreground')) rows.push(...(await benchForeground(servers, options, start)));
    if (wanted('memory')) rows.push(...(await benchMemory(servers, options, start)));
    return rows;
  } finally {
    for (const server of archiveServers.values()) await server[Symbol.asyncDispose]();
  }
}

type Start = (server: BenchServer, rows: number) => Promise<Archiving>;

async function benchSteps(
  servers: readonly BenchServer[],
  chosen: readonly Step[],
  options: BenchOptions,
  start: Start,
): Promise<readonly ReportRow[]> {
  const pt = await findPtArchiver();
  console.error(pt.version);
  const benches: { archiving: Archiving; measurements: Measurements }[] = [];
  for (const server of servers)
    benches.push({ archiving: await start(server, options.archiveRows), measurements: new Measurements() });
  for (let round = 0; round < options.archiveRuns; round++) {
    // Each round begins with another step, so that none always follows the same one.
    const shift = (round * 5) % chosen.length;
    for (const step of [...chosen.slice(shift), ...chosen.slice(0, shift)]) {
      for (const { archiving, measurements } of benches) {
        await loadAfresh(archiving);
        const figures = await step.run(archiving, pt);
        for (const [name, value] of Object.entries(figures)) measurements.add(name, value);
        const told = Object.values(figures)
          .map((value) => value.toFixed(2))
          .join(', ');
        console.error(`round ${round + 1}, ${archiving.server.flavour}, ${step.name}: ${told}`);
      }
    }
  }
  return benches.flatMap(({ archiving, measurements }) => report(archiving, measurements));
}

function report({ server, rows }: Archiving, measurements: Measurements): readonly ReportRow[] {
  const seconds = { name: 's', scale: 1, digits: 1 };
  const mebibytes = { name: 'MiB', scale: 2 ** -20, digits: 2 };
  const line = (work: string, names: readonly [ours: string, peer: string], label: string, limit: number) =>
    compare(
      measurements,
      { work, server: server.flavour, ours: names[0], peer: names[1] },
      label,
      { limit, direction: 'atLeast' },
      seconds,
    );
  const count = (number: number) => number.toLocaleString('en');
  const many = `${count(rows)} of ${count(rows * 2)} rows`;
  const bulk = 'pt-archiver --bulk-insert --bulk-delete';
  const slow = `pt-archiver --txn-size 1000, row by row, ${count(rowsRowByRow(rows))} rows, times ${rows / rowsRowByRow(rows)}`;
  const same = `${many} to the same server, verified`;
  const two = `${many} to another server, verified`;
  const size = compare(
    measurements,
    { work: 'the size of that', server: server.flavour, ours: 'Parquet bytes', peer: 'file, pt bytes' },
    'the gzipped file',
    { limit: 1, direction: 'atMost' },
    mebibytes,
  );
  return [
    line(same, ['same server', 'same server, pt'], `${bulk}, into a table like the source`, 1.5),
    line(same, ['same server', 'same server, pt, our keys'], `${bulk}, into a table with our archive's keys`, 1.5),
    line(
      'the same with deleteAfterDays, so by date',
      ['same server, by date', 'same server, pt'],
      `${bulk}, into a table like the source`,
      1.5,
    ),
    line(same, ['same server', 'same server, pt row by row'], slow, 15),
    line(two, ['two servers', 'two servers, pt'], `${bulk}, into a table like the source`, 1),
    line(two, ['two servers', 'two servers, pt, our keys'], `${bulk}, into a table with our archive's keys`, 1),
    line(two, ['two servers', 'two servers, pt row by row'], slow, 15),
    line(
      `${many} to Parquet zstd on disk, verified`,
      ['Parquet', 'file, pt'],
      'pt-archiver --file --bulk-delete, then gzip',
      1,
    ),
    size && { ...size, ratio: size.ratio.replace('time', 'size') },
    line(
      `purge of ${count(rows)} rows`,
      ['purge', 'purge, loop'],
      `${server.flavour} client, DELETE … LIMIT 1000, same table`,
      1,
    ),
    line(
      `purge of ${count(rows)} rows`,
      ['purge', 'purge, loop, indexed'],
      `${server.flavour} client, DELETE … LIMIT 1000, table like the source with its date index`,
      1,
    ),
  ].filter((row) => row !== null);
}

const memoryWorks: Readonly<Record<string, Destination>> = {
  'archive to the same server': 'same server',
  'archive to another server': 'other server',
  'archive to Parquet': 'files',
};

/** Peak resident memory for few and for many rows: it must not grow with them. */
async function benchMemory(
  servers: readonly BenchServer[],
  { archiveRows, memoryRuns }: BenchOptions,
  start: Start,
): Promise<readonly ReportRow[]> {
  const rows: ReportRow[] = [];
  for (const server of servers) {
    const measurements = new Measurements();
    for (const count of [archiveRows, archiveRows * manyTimes]) {
      const archiving = await start(server, count);
      for (let round = 0; round < memoryRuns; round++) await measureMemory(archiving, measurements);
    }
    const lines = [...Object.keys(memoryWorks), 'purge'].map((work) =>
      memoryLine(server, work, archiveRows, measurements),
    );
    rows.push(...lines);
  }
  return rows;
}

async function measureMemory(archiving: Archiving, measurements: Measurements): Promise<void> {
  const { server, rows } = archiving;
  const add = (work: string, { seconds, peakMiB }: { seconds: number; peakMiB: number | null }) => {
    measurements.add(`${work} ${rows}`, peakMiB ?? Number.NaN);
    console.error(`${server.flavour}, ${work}, ${rows} rows: ${peakMiB?.toFixed(0)} MiB, ${seconds.toFixed(1)} s`);
  };
  for (const [work, to] of Object.entries(memoryWorks)) {
    await loadAfresh(archiving);
    add(work, await archiveByLoader(archiving, to, { measureMemory: true }));
    if (to === 'same server') add('purge', await purgeByLoader(archiving, to, true));
  }
}

function memoryLine({ flavour }: BenchServer, work: string, count: number, measurements: Measurements): ReportRow {
  const many = count * manyTimes;
  const few = measurements.median(`${work} ${count}`) ?? Number.NaN;
  const more = measurements.median(`${work} ${many}`) ?? Number.NaN;
  const ratio = more / few;
  return {
    work: `peak memory, ${work}`,
    server: flavour,
    ours: `${more.toFixed(0)} MiB for ${many.toLocaleString('en')} rows`,
    peer: `${few.toFixed(0)} MiB for ${count.toLocaleString('en')} rows`,
    ratio: `${ratio.toFixed(2)}×`,
    target: `≤ ${limitMiB} MiB, within ${memorySpreadMax * 100} %`,
    met: Math.max(few, more) <= limitMiB && Math.abs(ratio - 1) <= memorySpreadMax,
  };
}
