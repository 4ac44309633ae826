import { execFile, spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Verb } from '@tableset/common/program.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { orSkip } from '../../charts/test/or-skip.ts';
import { loaderVerbs } from '../../loader/src/verbs/index.ts';
import { migratorVerbs } from '../../migrator/src/verbs/index.ts';
import { findComposeCheck } from '../programs/compose.ts';

const run = promisify(execFile);
const deploy = join(import.meta.dirname, '../../deploy');
const read = (file: string) => readFile(join(deploy, file), 'utf8');
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tableset-deploy-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

/** Names of a program's verbs and of the variables that they read. */
function interfaceOf(verbs: readonly Verb[]): { verbs: readonly string[]; variables: readonly string[] } {
  const variables = verbs.flatMap((verb) => Object.values(verb.settings).flatMap(({ env }) => env ?? []));
  return { verbs: verbs.map(({ name }) => name), variables: [...variables, 'NODE_ENV'] };
}

const loader = interfaceOf(loaderVerbs);
const migrator = interfaceOf(migratorVerbs);

describe('compose.yaml', () => {
  interface Service {
    readonly image: string;
    readonly command?: readonly string[];
    readonly entrypoint?: readonly string[];
    readonly environment: Readonly<Record<string, string>>;
    readonly secrets: readonly string[];
    readonly profiles?: readonly string[];
    readonly depends_on?: Readonly<Record<string, { condition: string }>>;
    readonly restart: string;
    readonly volumes?: readonly { readonly source: string; readonly target: string }[];
  }

  async function compose() {
    // Our own file; a field that is missing shows in what is expected of it.
    return parse(await read('compose.yaml'), { merge: true }) as {
      services: Readonly<Record<string, Service>>;
      secrets: Readonly<Record<string, { file: string }>>;
    };
  }

  test('brings up schema, data and app in this order', async () => {
    const { services } = await compose();
    const done = { condition: 'service_completed_successfully' };
    expect(services['migration']?.command).toEqual(['up']);
    expect(services['load']).toMatchObject({ command: ['load', '--if-changed'], depends_on: { migration: done } });
    expect(services['app']?.depends_on).toEqual({ load: done });
    const started = Object.entries(services).filter(([, { profiles }]) => profiles === undefined);
    expect(started.map(([name]) => name)).toEqual(['migration', 'load', 'app']);
  });

  test('runs verbs that there are, with variables that they read and secrets that are declared', async () => {
    const { services, secrets } = await compose();
    for (const [name, service] of Object.entries(services)) {
      for (const secret of service.secrets) expect(secrets, name).toHaveProperty(secret);
      const password = service.environment['DB_PASSWORD_FILE'] ?? '';
      expect(
        service.secrets.map((secret) => `/run/secrets/${secret}`),
        name,
      ).toContain(password);
      if (name === 'app') continue;
      const program = service.image.startsWith('database-migration:') ? migrator : loader;
      const verb = service.entrypoint?.at(-1) ?? service.command?.[0];
      expect(program.verbs, name).toContain(verb);
      expect(program.variables, name).toEqual(expect.arrayContaining(Object.keys(service.environment)));
      expect(service.restart, name).toBe('no');
    }
  });

  test('holds no password, and every program in it can write nothing but /tmp and the archive', async () => {
    expect(await read('compose.yaml')).not.toMatch(/PASSWORD: /);
    for (const [name, service] of Object.entries((await compose()).services)) {
      if (name === 'app') continue;
      expect(service, name).toMatchObject({ read_only: true, cap_drop: ['ALL'], tmpfs: ['/tmp'] });
      const writable = (service.volumes ?? []).filter((volume) => !('read_only' in volume));
      expect(
        writable.every(({ target }) => target === '/archive'),
        name,
      ).toBe(true);
    }
  });

  const variables = { DB_HOST: 'db', DB_NAME: 'shop', DB_USER: 'u', APP_USER: 'a', MIGRATOR_USER: 'm' };

  test('says which variables it wants', async () => {
    const wanted = [...(await read('compose.yaml')).matchAll(/\$\{(\w+):\?([^}]+)\}/g)].map(([, name]) => name);
    expect([...new Set(wanted)].toSorted()).toEqual(Object.keys(variables).toSorted());
  });

  test('is what Docker Compose takes', { timeout: 300_000 }, async (context) => {
    const check = (file: string, env: Readonly<Record<string, string>>) =>
      orSkip(context, () => findComposeCheck()).then((checked) => checked(file, env));
    await check(join(deploy, 'compose.yaml'), variables);
    for (const [right, wrong] of [
      ['service_completed_successfully', 'service_completed'],
      ['cap_drop:', 'cap_drops:'],
    ] as const) {
      const file = join(folder, 'compose.yaml');
      await writeFile(file, (await read('compose.yaml')).replace(right, wrong));
      await expect(check(file, variables), wrong).rejects.toThrow();
    }
  });
});

describe('systemd', () => {
  /** The units with a program that there is here, and the folder that holds them. */
  async function units(): Promise<readonly string[]> {
    const names = (await readdir(join(deploy, 'systemd'))).toSorted();
    for (const name of names) await copyFile(join(deploy, 'systemd', name), join(folder, name));
    const service = await readFile(join(folder, 'tableset@.service'), 'utf8');
    await writeFile(join(folder, 'tableset@.service'), service.replace('/usr/bin/node', process.execPath));
    return names;
  }

  test('each timer starts a verb that there is, at the hour that the charts have', async () => {
    const timers = (await units()).filter((name) => name.endsWith('.timer'));
    expect(timers).toEqual(['tableset-archive.timer', 'tableset-load.timer', 'tableset-purge.timer']);
    for (const name of timers) {
      const timer = await readFile(join(folder, name), 'utf8');
      const verb = /^Unit=tableset@(\w+)\.service$/m.exec(timer)?.[1] ?? '';
      expect(name).toBe(`tableset-${verb}.timer`);
      expect(loader.verbs).toContain(verb);
    }
    const [archive = '', load = '', purge = ''] = await Promise.all(timers.map((name) => read(`systemd/${name}`)));
    expect(load).toContain('OnCalendar=*-*-* 00/6:00:00 UTC');
    expect(archive).toContain('OnCalendar=*-*-* 02:00:00 UTC');
    expect(purge).toContain('OnCalendar=*-*-* 03:00:00 UTC');
  });

  test('the service runs once, sets variables that the loader reads, and retries what a retry can help', async () => {
    const service = await read('systemd/tableset@.service');
    expect(service).toMatch(/^Type=oneshot$/m);
    expect(service).toMatch(/^RestartPreventExitStatus=2 3$/m);
    expect(service).toMatch(/^ExecStart=\/usr\/bin\/node \/opt\/tableset\/loader\/main\.mjs %i$/m);
    const set = [...service.matchAll(/^Environment=(.*)$/gm)].flatMap(([, words = '']) => words.split(' '));
    const names = set.map((word) => word.split('=')[0] ?? '');
    expect(names).toContain('DB_PASSWORD_FILE');
    expect(loader.variables).toEqual(expect.arrayContaining(names));
    expect(service).not.toMatch(/DB_PASSWORD=/);
  });

  const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;

  test('systemd-analyze verify has nothing to say', async (context) => {
    if (!hasSystemd) context.skip('there is no systemd-analyze here');
    const timers = (await units()).filter((name) => name.endsWith('.timer'));
    const files = [...timers, 'tableset@archive.service'].map((name) => join(folder, name));
    await copyFile(join(folder, 'tableset@.service'), join(folder, 'tableset@archive.service'));
    const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', ...files]);
    expect(stdout + stderr).toBe('');
  });

  test('the sandbox leaves little exposed', async (context) => {
    if (!hasSystemd) context.skip('there is no systemd-analyze here');
    await units();
    const service = join(folder, 'tableset@archive.service');
    await copyFile(join(folder, 'tableset@.service'), service);
    const { stdout } = await run('systemd-analyze', ['security', '--offline=true', '--threshold=20', service]);
    expect(Number(/exposure level for .*: (\d+\.\d+)/.exec(stdout)?.[1])).toBeLessThan(2);
  });
});

describe('crontab', () => {
  async function lines() {
    const text = (await read('crontab')).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const variables = text.filter((line) => /^[A-Z_]+=/.test(line)).map((line) => line.split('=')[0] ?? '');
    const entries = text
      .filter((line) => !/^[A-Z_]+=/.test(line))
      .map((line) => {
        const match = /^((?:[\d*/,-]+ ){4}[\d*/,-]+) (\w+) (.+)$/.exec(line);
        if (!match) throw new Error(`this is no line of a crontab: ${line}`);
        return { schedule: match[1] ?? '', account: match[2] ?? '', command: match[3] ?? '' };
      });
    return { variables, entries };
  }

  test('starts verbs that there are, at the hours that the charts have, with variables that they read', async () => {
    const { variables, entries } = await lines();
    expect(entries.map(({ schedule, command }) => `${schedule} ${command.split(' ').slice(0, 2).join(' ')}`)).toEqual([
      '0 */6 * * * loader load',
      '0 2 * * * loader archive',
      '0 3 * * * loader purge',
    ]);
    for (const { command } of entries) {
      expect(loader.verbs).toContain(command.split(' ')[1]);
      // cron reads a percent sign as the end of the line.
      expect(command).not.toContain('%');
    }
    const own = variables.filter((name) => !['SHELL', 'PATH', 'MAILTO'].includes(name));
    expect(loader.variables).toEqual(expect.arrayContaining(own));
  });

  test('a run that fails says so with its exit code, and one that succeeds says nothing', async () => {
    await mkdir(join(folder, 'bin'));
    const program = join(folder, 'bin', 'loader');
    const env = { PATH: `${join(folder, 'bin')}:/usr/bin:/bin` };
    for (const { command } of (await lines()).entries) {
      const here = command.replaceAll('/var/log/tableset', folder);
      const verb = command.split(' ')[1] ?? '';
      for (const code of [0, 3]) {
        await writeFile(program, `#!/bin/sh\necho "line of $1"; echo "fault" >&2\nexit ${code}\n`);
        await chmod(program, 0o755);
        const { stdout, stderr } = spawnSync('/bin/sh', ['-c', here], { encoding: 'utf8', env });
        expect(stderr).toBe('');
        if (code === 0) expect(stdout).toBe('');
        else expect(stdout).toContain(`loader ${verb} ended with exit code 3; see ${folder}/${verb}.log`);
      }
      expect(await readFile(join(folder, `${verb}.log`), 'utf8')).toContain(`line of ${verb}\nfault\n`);
    }
  });
});
