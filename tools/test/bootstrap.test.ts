import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const entry = { version: '1.0.0', integrity: 'sha512-a' };

/** Stands in for npm: notes how it was called and installs this machine's Node as Node 24. */
const npm = `
const { appendFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } = require('node:fs');
appendFileSync('calls', process.argv.slice(2).join(' ') + '\\n');
rmSync('node_modules', { recursive: true, force: true });
mkdirSync('node_modules/node/bin', { recursive: true });
symlinkSync(${JSON.stringify(process.execPath)}, 'node_modules/node/bin/node');
writeFileSync('node_modules/.package-lock.json', readFileSync('package-lock.json'));
process.exit(Number(process.env.NPM_EXIT ?? 0));
`;

let checkout: string;

beforeEach(async () => {
  checkout = await mkdtemp(join(tmpdir(), 'tableset-bootstrap-'));
  await mkdir(join(checkout, 'tools'));
  await copyFile(join(root, 'tools', 'bootstrap.mjs'), join(checkout, 'tools', 'bootstrap.mjs'));
  await writeFile(join(checkout, 'npm-cli.cjs'), npm);
  await writeFile(
    join(checkout, 'task.ts'),
    `if (process.argv[2] === 'wait') setTimeout(() => {}, 20_000);
     else process.exitCode = Number(process.argv[2]);
     console.log(JSON.stringify(process.argv.slice(2) satisfies string[]));`,
  );
  await writeLock({ 'node_modules/a': entry });
});

afterEach(() => rm(checkout, { recursive: true, force: true }));

test('installs from a clean clone, once, and runs the task with its arguments', async () => {
  const first = run(['3', 'a b']);
  expect(first).toMatchObject({ code: 3, stdout: '["3","a b"]\n' });
  expect(first.stderr).toContain('installing');
  expect(run(['0'])).toMatchObject({ code: 0, stderr: '' });
  expect(await installs()).toEqual(['ci --no-audit --no-fund']);
});

test('installs again when the lock file names something else', async () => {
  run(['0']);
  await writeLock({ 'node_modules/a': { ...entry, version: '1.0.1' } });
  run(['0']);
  expect(await installs()).toHaveLength(2);
});

test('takes what npm install put in place, though it left no stamp', async () => {
  run(['0']);
  await writeLock({ '': {}, 'node_modules/a': entry, 'node_modules/b': { ...entry, optional: true } });
  run(['0']);
  expect(await installs()).toHaveLength(1);
});

test('does not run the task, and tries again the next time, when npm failed', async () => {
  expect(run(['0'], { NPM_EXIT: '1' })).toMatchObject({ code: 2, stdout: '' });
  await rm(join(checkout, 'node_modules', '.package-lock.json'));
  expect(run(['0'])).toMatchObject({ code: 0 });
  expect(await installs()).toHaveLength(2);
});

test('ends with the signal that ended the task', async () => {
  run(['0']);
  const child = spawn(process.execPath, ['tools/bootstrap.mjs', 'task.ts', 'wait'], { cwd: checkout, stdio: 'pipe' });
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([null, 'SIGTERM']);
});

function run(args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  const result = spawnSync(process.execPath, ['tools/bootstrap.mjs', 'task.ts', ...args], {
    cwd: checkout,
    encoding: 'utf8',
    env: { ...process.env, npm_execpath: join(checkout, 'npm-cli.cjs'), ...environment },
  });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

async function installs(): Promise<string[]> {
  return (await readFile(join(checkout, 'calls'), 'utf8')).trimEnd().split('\n');
}

async function writeLock(packages: Readonly<Record<string, object>>): Promise<void> {
  await writeFile(join(checkout, 'package-lock.json'), JSON.stringify({ packages }));
}
