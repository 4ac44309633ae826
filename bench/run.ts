/** Side by side with peers: `npm run bench -- [load] [start] [memory] [archive] [service] [options]`; prints a Markdown table. */
import { cpus, totalmem } from 'node:os';
import { benchArchive } from './cases/archive.ts';
import { benchLoad } from './cases/load.ts';
import { benchMemory } from './cases/memory.ts';
import { benchService } from './cases/service.ts';
import { benchStart } from './cases/start.ts';
import { type Area, type BenchOptions, parseOptions } from './options.ts';
import { buildPrograms } from './programs.ts';
import { markdownTable, type ReportRow } from './report.ts';
import { type BenchServer, startServer } from './servers.ts';

type Bench = (servers: readonly BenchServer[], options: BenchOptions) => Promise<readonly ReportRow[]>;
const benches: Readonly<Record<Area, Bench>> = {
  load: benchLoad,
  start: benchStart,
  memory: benchMemory,
  archive: benchArchive,
  service: benchService,
};

const argv = process.argv.slice(2);
const options = parseOptions(argv);
await buildPrograms();
const servers: BenchServer[] = [];
try {
  for (const flavour of options.flavours) servers.push(await startServer(flavour, options.keep));
  const rows: ReportRow[] = [];
  for (const area of options.areas) rows.push(...(await benches[area](servers, options)));
  const machine = `${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`;
  const versions = servers.map(({ flavour, version }) => `${flavour} ${version}`).join(', ');
  console.log(`${new Date().toISOString().slice(0, 10)}, ${machine}, Node ${process.version}, ${versions}`);
  console.log(`\`npm run bench${argv.length === 0 ? '' : ` -- ${argv.join(' ')}`}\`\n`);
  console.log(markdownTable(rows));
  if (rows.some((row) => row.met === false)) console.error('Not every target is met.');
} finally {
  for (const server of servers) await server[Symbol.asyncDispose]();
}
