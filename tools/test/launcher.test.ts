import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..', '..');
const report = `if (process.argv[2] === 'wait') { process.on('SIGTERM', () => process.exit(143)); setTimeout(() => {}, 20000); }
else process.exitCode = Number(process.argv[2] ?? 0);
console.log(JSON.stringify([FROM, process.version, process.pid, ...process.argv.slice(2)]));
`;

describe.each(['migrator', 'loader'])('the launcher of %s', (name) => {
  let checkout: string;
  let launcher: string;

  beforeEach(async () => {
    checkout = await mkdtemp(join(tmpdir(), 'tableset-launcher-'));
    const workspace = join(checkout, name);
    launcher = join(workspace, 'bin', name);
    for (const folder of ['bin', 'src', 'dist']) await mkdir(join(workspace, folder), { recursive: true });
    await mkdir(join(checkout, 'common', 'src'), { recursive: true });
    await copyFile(join(root, name, 'bin', name), launcher);
    await symlink(join(root, 'node_modules'), join(checkout, 'node_modules'));
    await writeSource(join(checkout, 'package-lock.json'), '{}');
    await writeSource(
      join(workspace, 'src', 'main.ts'),
      `const from: string = 'source';\n${report.replace('FROM', 'from')}`,
    );
    await writeFile(join(workspace, 'dist', 'main.mjs'), report.replace('FROM', "'bundle'"));
    await age(join(checkout, 'common', 'src'));
    await age(join(workspace, 'src'));
  });

  afterEach(() => rm(checkout, { recursive: true, force: true }));

  test('runs the bundle when it is newer than everything it was made from', () => {
    expect(run().output.slice(0, 2)).toEqual(['bundle', expect.stringMatching(/^v2[4-9]/)]);
  });

  test.each(['src/main.ts', '../common/src/new.ts', '../package-lock.json'])(
    'runs the source when %s is newer',
    async (file) => {
      await writeFile(join(checkout, name, file), file.endsWith('main.ts') ? report.replace('FROM', "'source'") : '{}');
      await utimes(join(checkout, name, file), new Date(), new Date(Date.now() + 5000));
      expect(run().output[0]).toBe('source');
    },
  );

  test('runs the source when a file of it was removed', async () => {
    await utimes(join(checkout, name, 'src'), new Date(), new Date(Date.now() + 5000));
    expect(run().output[0]).toBe('source');
  });

  test('runs the source when there is no bundle', async () => {
    await rm(join(checkout, name, 'dist'), { recursive: true });
    expect(run().output[0]).toBe('source');
  });

  test('passes arguments and the exit code on, also through chains of links', async () => {
    await mkdir(join(checkout, 'links'));
    await symlink(`../${name}/bin/${name}`, join(checkout, 'links', 'relative'));
    await symlink(join(checkout, 'links', 'relative'), join(checkout, 'links', 'absolute'));
    const { code, output } = run(['3', 'a b', '', '*'], join(checkout, 'links', 'absolute'));
    expect(code).toBe(3);
    expect(output.slice(3)).toEqual(['3', 'a b', '', '*']);
  });

  test('becomes the program, so that signals reach it', async () => {
    const child = spawn(launcher, ['wait'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [, , pid] = await firstLine(child);
    expect(pid).toBe(child.pid);
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([143, null]);
  });

  test('says what is missing where there is no Node 24', async () => {
    await rm(join(checkout, 'node_modules'));
    const programs = join(checkout, 'programs');
    await mkdir(programs);
    await writeFile(join(programs, 'node'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const { code, stderr } = run([], launcher, `${programs}:/usr/bin:/bin`);
    expect(code).toBe(2);
    expect(stderr).toContain(`${name}: needs Node 24 or newer: run npm ci in`);
  });

  function run(args: readonly string[] = [], path = launcher, search = process.env['PATH'] ?? '') {
    const result = spawnSync(path, args, { encoding: 'utf8', env: { ...process.env, PATH: search } });
    return { code: result.status, stderr: result.stderr, output: parse(result.stdout) };
  }
});

async function firstLine(child: ChildProcess): Promise<unknown[]> {
  if (child.stdout === null) throw new Error('the child has no output');
  const [chunk]: unknown[] = await once(child.stdout, 'data');
  return parse(String(chunk));
}

function parse(text: string): unknown[] {
  const value: unknown = text === '' ? [] : JSON.parse(text);
  return Array.isArray(value) ? value : [];
}

/** Writes a file that is older than the bundle. */
async function writeSource(path: string, text: string): Promise<void> {
  await writeFile(path, text);
  await age(path);
}

async function age(path: string): Promise<void> {
  const hourAgo = new Date(Date.now() - 3_600_000);
  await utimes(path, hourAgo, hourAgo);
}
