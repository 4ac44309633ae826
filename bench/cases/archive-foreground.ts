import { setTimeout as delay } from 'node:timers/promises';
import { tableContent } from '../archive-content.ts';
import { type Archiving, archiveByLoader, archiveSchema, isOld, loadAfresh } from '../archiving.ts';
import { similarTableSql } from '../data.ts';
import { type ForegroundTimes, withForeground } from '../foreground-client.ts';
import type { BenchOptions } from '../options.ts';
import { findPtArchiver, type PtArchiver, runPtArchiver } from '../peers/pt-archiver.ts';
import { compare, Measurements, type ReportRow, type Target } from '../report.ts';
import { type BenchServer, schemaName } from '../servers.ts';

const idleMs = 15_000;

/** What an operator sets to spare an application: small batches, as pt-archiver gets them too, and a tenth of the time at most. */
const throttled = { batchRows: 200, niceRatio: 9 };

/** The 99th percentile of reads and writes by key on the young rows of a table while its old ones are archived, beside that of an idle server. */
export async function benchForeground(
  servers: readonly BenchServer[],
  { archiveRows, archiveRuns }: BenchOptions,
  start: (server: BenchServer, rows: number) => Promise<Archiving>,
): Promise<readonly ReportRow[]> {
  const pt = await findPtArchiver();
  const rows: ReportRow[] = [];
  for (const server of servers) {
    const archiving = await start(server, archiveRows);
    const measurements = new Measurements();
    for (let round = 0; round < archiveRuns; round++) await measure(archiving, pt, measurements);
    rows.push(...report(server, measurements));
  }
  return rows;
}

async function measure(archiving: Archiving, pt: PtArchiver, measurements: Measurements): Promise<void> {
  const { server, rows } = archiving;
  const during = async (name: string, work: () => Promise<unknown>) => {
    const started = performance.now();
    const times: ForegroundTimes = await withForeground(server, [rows + 1, rows * 2], work);
    measurements.add(`read, ${name}`, times.readMs);
    measurements.add(`write, ${name}`, times.writeMs);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const figures = `read ${times.readMs.toFixed(2)} ms, write ${times.writeMs.toFixed(2)} ms, ${times.count} each in ${seconds} s`;
    console.error(`${server.flavour}, foreground, ${name}: ${figures}`);
  };
  await loadAfresh(archiving);
  await during('idle', async () => await delay(idleMs));
  await during('ours', async () => await archiveByLoader(archiving, 'same server', { limits: throttled }));
  await expectCounts(archiving);
  await loadAfresh(archiving);
  await server.ask(similarTableSql(`${archiveSchema}.products`));
  const args = [
    '--limit',
    String(throttled.batchRows),
    '--commit-each',
    '--bulk-insert',
    '--bulk-delete',
    '--no-check-charset',
  ];
  const task = { from: server, table: [schemaName, 'products'], where: isOld, args } as const;
  const to = { server, table: [archiveSchema, 'products'] } as const;
  await during('pt', async () => await runPtArchiver(pt, { ...task, to }));
  await expectCounts(archiving);
}

/** The foreground client has changed young rows, so these are only counted. */
async function expectCounts({ server, old, young }: Archiving): Promise<void> {
  const archived = await tableContent(server, `${archiveSchema}.products`);
  const left = await tableContent(server, 'products');
  if (archived.digest !== old.digest || left.rows !== young.rows)
    throw new Error(`${archived.rows} rows are archived, or other values, and ${left.rows} are left`);
}

function report({ flavour }: BenchServer, measurements: Measurements): readonly ReportRow[] {
  const unit = { name: 'ms', scale: 1, digits: 2 };
  const batch = `${throttled.batchRows}-row batches, niceRatio ${throttled.niceRatio}`;
  const line = (kind: 'read' | 'write', peer: 'idle' | 'pt', label: string, target: Target | null) =>
    compare(
      measurements,
      {
        work: `p99 of a ${kind} by key while archiving, throttled (${batch})`,
        server: flavour,
        ours: `${kind}, ours`,
        peer: `${kind}, ${peer}`,
      },
      label,
      target,
      unit,
    );
  return (['read', 'write'] as const)
    .flatMap((kind) => [
      line(kind, 'idle', 'nothing beside it', { limit: 2, direction: 'atMost' }),
      line(kind, 'pt', `pt-archiver --limit ${throttled.batchRows} beside it`, null),
    ])
    .filter((row) => row !== null);
}
