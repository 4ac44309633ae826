/**
 * Runs what proves this checkout: `node tools/test.ts [STEP…] [FILE…] [-- VITEST OPTION…]`, by default check, unit,
 * chart and database. Files narrow the vitest steps down. The last line counts what really ran; it is also written to the file
 * that SUMMARY_FILE names. Exits with 1 when anything failed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface Result extends Counts {
  readonly name: string;
  readonly seconds: number;
}

const root = join(import.meta.dirname, '..');
const binaries = join(root, 'node_modules', '.bin');
const defaultSteps = ['check', 'unit', 'chart', 'database'];

/** Each resolves to its results; a step never rejects because something failed. */
const steps: Readonly<Record<string, (filters: readonly string[]) => Promise<Result[]>>> = {
  async check() {
    const commands: [string, string, string[]][] = [
      ['format and lint', join(binaries, 'biome'), ['check', '--error-on-warnings', '.']],
      ['types', join(binaries, 'tsc'), ['--project', root]],
      ['unused code', join(binaries, 'knip'), ['--no-config-hints']],
      ['build', process.execPath, [join(root, 'tools', 'build.ts')]],
    ];
    const docs = join(root, 'tools', 'docs.ts');
    if (await exists(docs)) commands.push(['generated documents', process.execPath, [docs, '--check']]);
    commands.push(['charts’ documents', process.execPath, [join(root, 'tools', 'charts.ts'), '--check']]);
    const results: Result[] = [];
    for (const [name, command, args] of commands) results.push(await runCommand(`check: ${name}`, command, args));
    return results;
  },
  unit: async (filters) => [await runVitest('unit', filters)],
  chart: async (filters) => [await runVitest('chart', filters)],
  image: async (filters) => [await runVitest('image', filters)],
  database: async (filters) => [await runVitest('database', filters)],
  demo: async () => [await runCommand('demo', process.execPath, [join(root, 'tools', 'demo.ts')])],
};

async function runCommand(name: string, command: string, args: readonly string[]): Promise<Result> {
  const { code, seconds } = await run(name, command, args);
  return { name, seconds, passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

async function runVitest(project: string, filters: readonly string[]): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'tableset-test-'));
  try {
    const report = join(folder, 'report.json');
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
    const name = `${project} tests`;
    const { code, seconds } = await run(name, process.execPath, [
      vitest,
      'run',
      '--project',
      project,
      ...reporters,
      ...filters,
    ]);
    const counts = await readCounts(report);
    // Not every fault is a failed test: a hook, the global setup, a file that does not load, no tests at all.
    const unseen = counts.failed === 0 && (code !== 0 || counts.passed === 0) ? 1 : 0;
    return { name, seconds, ...counts, failed: counts.failed + unseen };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function readCounts(report: string): Promise<Counts> {
  const text = await readFile(report, 'utf8').catch(() => '{}');
  // The fields of vitest's JSON report that are counted here; any of them may be missing after a crash.
  const json = JSON.parse(text) as Partial<
    Record<'numPassedTests' | 'numFailedTests' | 'numPendingTests' | 'numTodoTests', number>
  >;
  return {
    passed: json.numPassedTests ?? 0,
    failed: json.numFailedTests ?? 0,
    skipped: (json.numPendingTests ?? 0) + (json.numTodoTests ?? 0),
  };
}

async function run(name: string, command: string, args: readonly string[]): Promise<{ code: number; seconds: number }> {
  console.log(`\n== ${name}`);
  const startedMs = performance.now();
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  const stop = (signal: NodeJS.Signals) => child.kill(signal);
  process.on('SIGINT', stop).on('SIGTERM', stop);
  // The exit event carries the code, or null after a signal.
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  process.off('SIGINT', stop).off('SIGTERM', stop);
  if (signal === 'SIGINT' || signal === 'SIGTERM') process.exit(130);
  return { code: code ?? 1, seconds: (performance.now() - startedMs) / 1000 };
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

function closingLine(results: readonly Result[]): string {
  const total = (pick: (result: Result) => number) => results.reduce((sum, result) => sum + pick(result), 0);
  const skipped = total((result) => result.skipped);
  const line = `${total((result) => result.passed)} passed, ${total((result) => result.failed)} failed`;
  return skipped === 0 ? line : `${line}, ${skipped} skipped`;
}

const words = process.argv.slice(2).filter((word) => word !== '--');
const chosen = words.filter((word) => Object.hasOwn(steps, word));
const filters = words.filter((word) => !Object.hasOwn(steps, word));
const results: Result[] = [];
for (const step of chosen.length > 0 ? chosen : defaultSteps) results.push(...((await steps[step]?.(filters)) ?? []));

console.log('');
for (const result of results) {
  const mark = result.failed === 0 ? 'ok    ' : 'FAILED';
  console.log(
    `${mark} ${result.name.padEnd(28)} ${result.seconds.toFixed(1).padStart(7)} s   ${closingLine([result])}`,
  );
}
const line = closingLine(results);
if (process.env['SUMMARY_FILE']) await writeFile(process.env['SUMMARY_FILE'], `${line}\n`);
console.log(line);
process.exitCode = results.every((result) => result.failed === 0) ? 0 : 1;
