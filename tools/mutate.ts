/**
 * Changes the pure core in thousands of small ways and counts which of them the unit tests notice:
 *   npm run mutation -- [FILE…]
 * by default all of loader/src/core and migrator/src/core, which takes some hours; one file takes minutes. Stryker does it, in a copy of this checkout and installed
 * beside that copy, since nothing else needs it. What it found is written to mutation.json in the temporary folder that the last line names, with every mutant that survived.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const strykerVersion = '10.1.1';
const root = join(import.meta.dirname, '..');
const workspaces = ['common', 'migrator', 'loader'] as const;
/** What the unit tests of the core read beside the workspaces. */
const further = ['test', 'tools', 'package.json', 'tsconfig.json'] as const;
const defaultFiles = ['loader/src/core/**/*.ts', 'migrator/src/core/**/*.ts'] as const;
/** Part of Stryker's report. */
interface Report {
  readonly files: Readonly<Record<string, { readonly mutants: readonly { readonly status: string }[] }>>;
}

async function main(files: readonly string[]): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'mutation-'));
  const checkout = join(folder, 'checkout');
  await copyCheckout(checkout);
  await writeFile(join(folder, 'package.json'), '{"private":true}\n');
  const packages = ['core', 'vitest-runner'].map((name) => `@stryker-mutator/${name}@${strykerVersion}`);
  // The runner is to find the vitest of this checkout, not one of its own.
  const installed = await run('npm', ['install', '--legacy-peer-deps', '--no-audit', '--no-fund', ...packages], folder);
  if (installed !== 0) return installed;
  await symlink(join(root, 'node_modules', 'vitest'), join(folder, 'node_modules', 'vitest'));
  await writeFile(join(checkout, 'vitest.mutation.config.ts'), vitestConfig());
  await writeFile(join(checkout, 'stryker.config.json'), JSON.stringify(strykerConfig(folder, files), null, 2));
  const stryker = join(folder, 'node_modules', '@stryker-mutator', 'core', 'bin', 'stryker.js');
  const code = await run(process.execPath, [stryker, 'run'], checkout);
  if (code !== 0) return code;
  // As Stryker writes it.
  const report = JSON.parse(await readFile(join(folder, 'mutation.json'), 'utf8')) as Report;
  for (const line of scores(report)) console.log(line);
  await rm(checkout, { recursive: true });
  console.log(`every mutant: ${join(folder, 'mutation.json')}`);
  return 0;
}

/** A copy whose own workspaces are imported, and whose packages are those of this checkout. */
async function copyCheckout(checkout: string): Promise<void> {
  const isWanted = (path: string) => !/[\\/](node_modules|dist|\.git)$/.test(path);
  for (const name of [...workspaces, ...further])
    await cp(join(root, name), join(checkout, name), { recursive: true, filter: isWanted });
  const modules = join(checkout, 'node_modules');
  await mkdir(join(modules, '@tableset'), { recursive: true });
  for (const name of await readdir(join(root, 'node_modules')))
    if (name !== '@tableset') await symlink(join(root, 'node_modules', name), join(modules, name));
  for (const name of workspaces) await symlink(join(checkout, name), join(modules, '@tableset', name));
}

function vitestConfig(): string {
  const options = {
    // Tests of what waits or starts programs notice nothing of the core that these do not, and fail on a busy machine.
    include: [
      'loader/test/core/**/*.test.ts',
      'loader/test/{restore-choose,archive-shards,stores/formats}.test.ts',
      'migrator/test/**/*.test.ts',
    ],
    exclude: ['**/node_modules/**', '**/*.db.test.ts'],
    testTimeout: 60_000,
  };
  return `export default ${JSON.stringify({ test: options })};\n`;
}

function strykerConfig(folder: string, files: readonly string[]) {
  return {
    testRunner: 'vitest',
    plugins: [join(folder, 'node_modules', '@stryker-mutator', 'vitest-runner', 'dist', 'src', 'index.js')],
    // Only tests that import a file that is changed are run, and of those only the ones that reach the place.
    vitest: { configFile: 'vitest.mutation.config.ts', related: true },
    coverageAnalysis: 'perTest',
    // What runs once as a file is loaded would need all its tests in a new process.
    ignoreStatic: true,
    mutate: files.length > 0 ? files : [...defaultFiles],
    inPlace: true,
    concurrency: 2,
    timeoutMS: 20_000,
    reporters: ['clear-text', 'json'],
    clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
    jsonReporter: { fileName: join(folder, 'mutation.json') },
  };
}

/** A line a file: of the mutants that tests could notice, how many they did. */
function scores({ files }: Report): readonly string[] {
  const counted = Object.entries(files).map(([name, { mutants }]) => {
    const of = (...statuses: readonly string[]) => mutants.filter(({ status }) => statuses.includes(status)).length;
    return { name, noticed: of('Killed', 'Timeout'), missed: of('Survived', 'NoCoverage') };
  });
  const total = { name: 'all', noticed: sum(counted, 'noticed'), missed: sum(counted, 'missed') };
  return [...counted, total].map(({ name, noticed, missed }) => {
    const all = noticed + missed;
    return `${all === 0 ? '—' : `${((100 * noticed) / all).toFixed(1)} %`} ${noticed} of ${all} ${name}`;
  });
}

function sum(
  counted: readonly { readonly noticed: number; readonly missed: number }[],
  name: 'noticed' | 'missed',
): number {
  return counted.reduce((total, each) => total + each[name], 0);
}

async function run(command: string, words: readonly string[], folder: string): Promise<number> {
  const child = spawn(command, words, { cwd: folder, stdio: 'inherit' });
  // The event's arguments: exit code, or null and the signal.
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

process.exitCode = await main(process.argv.slice(2));
