import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { makeSource, tableSql } from '../data.ts';
import type { BenchOptions } from '../options.ts';
import { median, type ReportRow } from '../report.ts';
import type { BenchServer } from '../servers.ts';
import { bareNodeMiB, ServiceProcess } from '../service-process.ts';

const idleMiBMax = 45;
const idleCpuPercentMax = 0.2;
const idleSeconds = 60;
const healthMsMax = 10;
const healthPerSecond = 500;
const startMsMax = 50;
const starts = 21;
/** Two threads' worth: each is replaced after 200 runs, and until then its heap and the allocator's arenas still grow. */
const warmUpRuns = 500;
/** A worker that has nothing to do is kept this long. */
const workerIdleMs = 65_000;
const smallRows = 10;
/** What memory may differ by after all the runs; handles and connections may by those that the service keeps for a while. */
const growthMax = 0.1;
const connectionsKept = 4;

/** The service: what it takes while it has nothing to do, and how soon it answers and begins. */
export async function benchService(
  servers: readonly BenchServer[],
  options: BenchOptions,
): Promise<readonly ReportRow[]> {
  const rows: ReportRow[] = [];
  const folder = await mkdtemp(join(tmpdir(), 'tableset-bench-'));
  try {
    const config = join(folder, 'config.yaml');
    for (const server of servers) {
      const use = async (count: number) =>
        await writeFile(
          config,
          `load:\n  - table: products\n    source: ${await makeSource(count, 'first')}\n    maxPublishRows: 1000000000\n`,
        );
      rows.push(...(await idle(server, config, use)).map(told));
      rows.push(told(await healthWhileLoading(server, config, use, options.rows)));
      rows.push(told(await triggerToStart(server, config, use)));
      rows.push(told(await soak(server, config, use, options.soakRuns)));
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  return rows;
}

/** The whole table comes at the end, and a soak takes long: each row is told as it comes. */
function told(measured: ReportRow): ReportRow {
  const { work, server, ours, peer, ratio, target, met } = measured;
  console.error(`${work}, ${server}: ${ours}; ${peer}; ${ratio} (${target}: ${met === false ? 'missed' : 'met'})`);
  return measured;
}

type Use = (rows: number) => Promise<void>;

async function fresh(server: BenchServer, config: string): Promise<ServiceProcess> {
  await server.ask('DROP TABLE IF EXISTS products', 'DROP TABLE IF EXISTS tableset_service_runs', tableSql);
  return await ServiceProcess.start(server, config);
}

async function idle(server: BenchServer, config: string, use: Use): Promise<readonly ReportRow[]> {
  await use(smallRows);
  const bare = await bareNodeMiB();
  await using service = await fresh(server, config);
  await delay(5_000);
  const before = await service.facts();
  await delay(idleSeconds * 1000);
  const after = await service.facts();
  const over = after.residentMiB - bare;
  const percent = ((after.cpuSeconds - before.cpuSeconds) / idleSeconds) * 100;
  return [
    {
      work: 'service, idle memory',
      server: server.flavour,
      ours: `${after.residentMiB.toFixed(0)} MiB`,
      peer: `bare Node: ${bare.toFixed(0)} MiB`,
      ratio: `${over.toFixed(0)} MiB more`,
      target: `≤ ${idleMiBMax} MiB more`,
      met: over <= idleMiBMax,
    },
    row(
      server,
      'service, idle processor',
      `${percent.toFixed(2)} %`,
      `≤ ${idleCpuPercentMax} %`,
      percent <= idleCpuPercentMax,
    ),
  ];
}

async function healthWhileLoading(server: BenchServer, config: string, use: Use, rows: number): Promise<ReportRow> {
  await use(rows);
  await using service = await fresh(server, config);
  await service.trigger();
  const times: number[] = [];
  let loading = true;
  const loaded = service.settled().then(() => {
    loading = false;
  });
  while (loading) times.push(...(await service.health(healthPerSecond, 1)));
  await loaded;
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)] ?? Number.NaN;
  const ours = `p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms of ${times.length}`;
  const work = `service, /health at ${healthPerSecond}/s during a load of ${rows.toLocaleString('en')} rows`;
  return row(server, work, ours, `p99 ≤ ${healthMsMax} ms`, at(0.99) <= healthMsMax);
}

async function triggerToStart(server: BenchServer, config: string, use: Use): Promise<ReportRow> {
  await use(smallRows);
  await using service = await fresh(server, config);
  const times: number[] = [];
  for (let round = 0; round < starts; round++) {
    times.push(await service.triggerToStartMs());
    await service.settled();
  }
  const [first = Number.NaN] = times;
  const middle = median(times);
  const ours = `median ${middle.toFixed(0)} ms, the first ${first.toFixed(0)} ms`;
  return row(server, 'service, trigger to start', ours, `≤ ${startMsMax} ms`, Math.max(first, middle) <= startMsMax);
}

async function soak(server: BenchServer, config: string, use: Use, runs: number): Promise<ReportRow> {
  await use(smallRows);
  await using service = await fresh(server, config);
  const connections = async () => {
    const found = await server.ask("SELECT COUNT(*) AS open FROM information_schema.PROCESSLIST WHERE DB = 'bench'");
    return Number(found?.['open']);
  };
  // What is made once, such as compiled code, has been made after some runs.
  await trigger(service, Math.max(warmUpRuns, Math.ceil(runs / 10)));
  await delay(workerIdleMs);
  const before = { ...(await service.facts()), connections: await connections() };
  await trigger(service, runs);
  await delay(workerIdleMs);
  const after = { ...(await service.facts()), connections: await connections() };
  const tell = ({ residentMiB, files, connections: open }: typeof before) =>
    `${residentMiB.toFixed(0)} MiB, ${files} handles, ${open} connections`;
  const growth = after.residentMiB / before.residentMiB - 1;
  return {
    work: `service, after ${runs.toLocaleString('en')} runs`,
    server: server.flavour,
    ours: tell(after),
    peer: `before: ${tell(before)}`,
    ratio: `${(growth * 100).toFixed(0)} % more memory`,
    target: `within ${growthMax * 100} %, handles and connections too, but for ${connectionsKept}`,
    met:
      growth <= growthMax &&
      after.files <= before.files + connectionsKept &&
      after.connections <= before.connections + connectionsKept,
  };
}

async function trigger(service: ServiceProcess, runs: number): Promise<void> {
  const started = performance.now();
  const every = Math.max(1, Math.ceil(runs / 10));
  for (let done = 0; done < runs; ) {
    if ((await service.trigger()) === null) {
      await delay(200);
      continue;
    }
    done++;
    if (done % every === 0) {
      const { residentMiB: resident, cpuSeconds } = await service.facts();
      const seconds = (performance.now() - started) / 1000;
      console.error(
        `  ${done.toLocaleString('en')} of ${runs.toLocaleString('en')} runs after ${seconds.toFixed(0)} s: ${resident.toFixed(0)} MiB, ${cpuSeconds.toFixed(0)} s of processor`,
      );
    }
  }
  await service.settled();
}

function row(server: BenchServer, work: string, ours: string, target: string, met: boolean): ReportRow {
  return { work, server: server.flavour, ours, peer: '–', ratio: '–', target, met };
}
