/** Tries to lose a row: `npm run torture -- [--slice] [--seed N] [--only …]`; prints a table, and ends with 1 unless every point converged. */
import { type S3Server, s3IsMissing, startS3Server } from '../loader/test/stores/s3-server.ts';
import { flavours, ServerPool } from '../test/server-pool.ts';
import { strikeDisasters } from './disasters.ts';
import { killPrograms } from './kills.ts';
import { parseOptions } from './options.ts';
import { cutPackets } from './packets.ts';
import { type Catch, huntBugs } from './planted/hunt.ts';
import { buildPrograms, removeBuilds } from './program/build.ts';
import { shortDeadlines } from './program/change.ts';
import { markdown, reportTable, type Tally } from './report.ts';
import type { Server } from './schema.ts';

const options = parseOptions(process.argv.slice(2));
const started = performance.now();
// What a run left behind goes on when its verb has ended, and hears that its connections are closed.
const strays: unknown[] = [];
process.on('unhandledRejection', (reason) => void strays.push(reason));

await using stack = new AsyncDisposableStack();
stack.defer(removeBuilds);
const pool = stack.use(new ServerPool());
const servers: Server[] = [];
for (const flavour of flavours) {
  const entry = await pool.get({ flavour, localInfile: true });
  if (entry.state === 'up') servers.push({ flavour, version: entry.version, address: entry.address });
  else if (process.env['REQUIRE_SERVERS']?.includes(flavour))
    throw new Error(`${flavour} is not there: ${entry.reason}`);
  else console.log(`!!! Nothing is tried on ${flavour}: ${entry.reason}`);
}
let s3: S3Server | null = null;
if (!s3IsMissing && options.stores.includes('s3')) s3 = stack.use(await startS3Server());
const backends = { servers, s3 };
console.log(`${servers.map(({ flavour, version }) => `${flavour} ${version}`).join(', ')}; seed ${options.seed}`);

const tallies: Tally[] = [];
const plain = await buildPrograms('plain', shortDeadlines);
if (options.parts.includes('packets')) tallies.push(...(await cutPackets(backends, options, plain)));
if (options.parts.includes('kills')) tallies.push(...(await killPrograms(backends, options, plain)));
if (options.parts.includes('disasters')) tallies.push(...(await strikeDisasters(backends, options, plain)));
const catches: readonly Catch[] = options.parts.includes('planted') ? await huntBugs(backends, options, plain) : [];

console.log(`\n${reportTable(tallies)}\n`);
if (catches.length > 0) {
  const rows = catches.map(({ bug, server, caughtBy }) => [bug, server, caughtBy ?? 'NOT CAUGHT']);
  console.log(`${markdown(['planted bug', 'server', 'caught by'], rows)}\n`);
  console.log(
    `${catches.filter(({ caughtBy }) => caughtBy !== null).length} of ${catches.length} planted bugs were caught\n`,
  );
}
for (const stray of strays) console.log('✗ a promise was left to fail on its own:', stray);
console.log(`${Math.round((performance.now() - started) / 1000)} s, seed ${options.seed}`);
process.exitCode =
  strays.length === 0 &&
  tallies.every(({ clean }) => clean) &&
  catches.every(({ caughtBy, falseAlarm }) => caughtBy !== null && falseAlarm === null)
    ? 0
    : 1;
