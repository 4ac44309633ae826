/**
 * Shows every promise about Kubernetes on a running cluster: `npm run e2e [-- CASE…] [--all] [--jobs N] [--no-build] [--keep]`.
 * Runs the core cases, all of them with --all, or those whose numbers are given, each in a namespace of its own, several at once.
 * Takes the current context, and that only if it is a local one. The last line counts; SUMMARY_FILE gets it too. --no-build takes
 * the images of the run before; --keep leaves the database server for the next one.
 */
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Case } from './case.ts';
import { buildImages, type Cluster, connectCluster, removeDatabase, startDatabase } from './cluster.ts';
import { Scene } from './scene.ts';

interface Result {
  readonly each: Case;
  readonly seconds: number;
  readonly failure: string | undefined;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    all: { type: 'boolean', default: false },
    build: { type: 'boolean', default: true },
    jobs: { type: 'string', default: '3' },
    keep: { type: 'boolean', default: false },
  },
  allowNegative: true,
});

/** Nothing in a case waits for ever; this is for what nobody thought of. */
const caseMinutesMax = 20;

async function main(): Promise<number> {
  const jobs = Number(values.jobs);
  if (!Number.isInteger(jobs) || jobs < 1) throw new Error(`--jobs takes a number from 1 up, not ${values.jobs}`);
  const cases = await chosenCases();
  const cluster = await connectCluster();
  console.log(`e2e: context ${cluster.context}, ${cases.length} cases, ${jobs} at once`);
  const started = performance.now();
  if (values.build) await buildImages(cluster);
  await startDatabase(cluster);
  console.log(`e2e: images and database are there after ${secondsSince(started)} s`);
  const results = await runCases(
    cluster,
    cases.filter((each) => !each.alone),
    jobs,
  );
  results.push(
    ...(await runCases(
      cluster,
      cases.filter((each) => each.alone),
      1,
    )),
  );
  if (!values.keep) await removeDatabase(cluster);
  const passed = results.filter((result) => result.failure === undefined).length;
  const line = `${passed} passed, ${cases.length - passed} failed`;
  if (process.env['SUMMARY_FILE']) await writeFile(process.env['SUMMARY_FILE'], `${line}\n`);
  console.log(`e2e: ${secondsSince(started)} s\n${line}`);
  return passed === cases.length ? 0 : 1;
}

async function runCases(cluster: Cluster, cases: readonly Case[], jobs: number): Promise<Result[]> {
  const results: Result[] = [];
  const queue = [...cases];
  const work = async () => {
    for (let each = queue.shift(); each !== undefined; each = queue.shift()) {
      const result = await runCase(cluster, each);
      results.push(result);
      report(result);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return results;
}

async function chosenCases(): Promise<readonly Case[]> {
  const folder = join(import.meta.dirname, 'cases');
  const files = (await readdir(folder)).filter((name) => name.endsWith('.ts')).toSorted();
  // Each file of the folder has a case as its default export.
  const cases = await Promise.all(
    files.map(async (file) => ((await import(join(folder, file))) as { readonly default: Case }).default),
  );
  if (positionals.length === 0) return cases.filter((each) => values.all || each.core);
  return positionals.map((number) => {
    const found = cases.find((each) => each.number === Number(number));
    if (!found) throw new Error(`there is no case ${number}; there are ${cases.map((each) => each.number).join(', ')}`);
    return found;
  });
}

async function runCase(cluster: Cluster, each: Case): Promise<Result> {
  const started = performance.now();
  let scene: Scene | undefined;
  let failure: string | undefined;
  try {
    scene = await Scene.open(cluster, `case-${each.number}`);
    await Promise.race([each.run(scene), tooLong()]);
  } catch (error) {
    failure = describe(error);
    if (scene) failure += `\n${await scene.diagnosis().catch(String)}`;
  }
  const seconds = secondsSince(started);
  // A case that cannot clean up after itself has failed too.
  if (scene)
    failure = await scene.close().then(
      () => failure,
      (error: unknown) => failure ?? describe(error),
    );
  return { each, seconds, failure };
}

async function tooLong(): Promise<never> {
  await setTimeout(caseMinutesMax * 60_000, undefined, { ref: false });
  throw new Error(`it was not done after ${caseMinutesMax} minutes`);
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined
    ? (error.stack ?? error.message)
    : `${error.stack}\ncaused by ${describe(error.cause)}`;
}

function report({ each, seconds, failure }: Result): void {
  const mark = failure === undefined ? 'ok    ' : 'FAILED';
  console.log(`${mark} ${String(each.number).padStart(2)} ${each.promise} (${seconds} s)`);
  if (failure !== undefined) console.log(failure.replaceAll(/^/gm, '       '));
}

function secondsSince(startedMs: number): number {
  return Math.round((performance.now() - startedMs) / 100) / 10;
}

// A case that was given up may still wait for something.
process.exit(await main());
