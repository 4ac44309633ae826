import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findProgram } from '../../tools/programs/debian-program.ts';
import { orSkip } from './or-skip.ts';
import { run } from './render.ts';

const root = join(import.meta.dirname, '..', '..');
const script = join(root, 'deploy.sh');
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tableset-deploy-'));
  await mkdir(join(folder, 'bin'));
  for (const tool of ['helm', 'docker', 'minikube', 'kind']) await stub(tool, '');
  await stub('kubectl', 'case "$*" in "config current-context") echo minikube ;; esac');
});

afterEach(() => rm(folder, { recursive: true, force: true }));

/** A tool that notes how it was called and does what `body` says. */
async function stub(name: string, body: string): Promise<void> {
  const path = join(folder, 'bin', name);
  await writeFile(path, `#!/usr/bin/env bash\necho "${name} $*" >>"${folder}/calls"\n${body}\n`);
  await chmod(path, 0o755);
}

function deploy(...args: readonly string[]): { code: number | null; stdout: string; stderr: string } {
  const env = { PATH: `${join(folder, 'bin')}:/usr/bin:/bin` };
  const { status, stdout, stderr } = spawnSync('bash', [script, ...args], { encoding: 'utf8', env });
  return { code: status, stdout, stderr };
}

async function calls(): Promise<readonly string[]> {
  const text = await readFile(join(folder, 'calls'), 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
}

const changing = /^(helm|kubectl) .*\b(upgrade|install|uninstall|create|delete|patch|apply)\b/;

test('shellcheck has nothing to say', async (context) => {
  const shellcheck = await orSkip(context, () => findProgram('shellcheck', 'shellcheck'));
  expect(await run(shellcheck, [script])).toBe('');
});

describe('the context', () => {
  test.each(['production', 'gke_x', 'minikube-2', 'my-kind-x'])(
    '%s is refused unless it is named and agreed to',
    async (name) => {
      await stub('kubectl', `case "$*" in "config current-context") echo ${name} ;; esac`);
      for (const args of [[], ['--yes'], ['--context', name], ['down'], ['run-now']]) {
        const { code, stderr } = deploy(...args);
        expect(code).toBe(1);
        expect(stderr).toContain(`context ${name} is not a local one`);
      }
      expect((await calls()).filter((call) => changing.test(call))).toEqual([]);
      expect(deploy('--context', name, '--yes').code).toBe(0);
    },
  );

  test.each(['minikube', 'kind-dev', 'docker-desktop', 'devcluster'])(
    '%s is taken, and every call names it',
    async (name) => {
      await stub('kubectl', `case "$*" in "config current-context") echo ${name} ;; esac`);
      expect(deploy('--with-mysql').code).toBe(0);
      const made = (await calls()).filter((call) => !call.includes('current-context'));
      expect(made.length).toBeGreaterThan(3);
      for (const call of made) {
        const option = call.startsWith('helm') ? '--kube-context' : '--context';
        expect(call).toContain(`${option} ${name} --namespace default`);
      }
    },
  );

  test('none at all is an error that says what to do', async () => {
    await stub('kubectl', 'exit 1');
    expect(deploy()).toMatchObject({ code: 1, stderr: expect.stringContaining('minikube start') });
  });
});

describe('deploy', () => {
  test('installs database-load, then order-food, with the values and the tag', async () => {
    const values = join(folder, 'values.yaml');
    await writeFile(values, 'database: {host: db}\n');
    const { code, stdout } = deploy('--values', values, '--tag', 'v2', '--namespace', 'shop');
    expect(code).toBe(0);
    const installs = (await calls()).filter((call) => call.includes('upgrade --install'));
    expect(installs.map((call) => /--install (\S+)/.exec(call)?.[1])).toEqual(['database-load', 'order-food']);
    for (const call of installs) {
      expect(call).toContain(`--values ${values}`);
      expect(call).toContain('image.tag=v2');
      expect(call).toContain('--reset-values --wait --timeout 5m');
    }
    expect(stdout).toContain('kubectl --context minikube -n shop port-forward');
  });

  test('--with-mysql installs that first', async () => {
    deploy('deploy', '--with-mysql');
    expect((await calls()).find((call) => call.includes('upgrade --install'))).toContain('--install demo-mysql');
  });

  test('--dry-run changes nothing', async () => {
    expect(deploy('--dry-run', '--with-mysql').code).toBe(0);
    for (const call of (await calls()).filter((each) => changing.test(each)))
      expect(call).toContain('--dry-run=server');
  });

  test('--dry-run fails where a chart or the API server refuses', async () => {
    await stub('helm', 'case "$*" in *lint*) exit 1 ;; esac');
    expect(deploy('--dry-run').code).toBe(1);
    await stub('helm', '');
    await stub('kubectl', 'case "$*" in *current-context*) echo minikube ;; *apply*) exit 1 ;; esac');
    expect(deploy('--dry-run').code).toBe(1);
  });

  test('a release that a killed helm left pending is named with the way out', async () => {
    await stub('helm', `case "$*" in *"status database-load"*) echo '{"info":{"status":"pending-install"}}' ;; esac`);
    const { code, stderr } = deploy();
    expect(code).toBe(1);
    expect(stderr).toContain('helm --kube-context minikube -n default uninstall database-load');
    expect((await calls()).some((call) => call.includes('upgrade'))).toBe(false);
  });

  test('when an init container fails, its last lines and the remedy are shown', async () => {
    await stub('helm', 'case "$*" in *"--install order-food"*) exit 1 ;; esac');
    await stub(
      'kubectl',
      `case "$*" in
        *current-context*) echo minikube ;;
        *go-template*) printf 'order-food-1 database-migration 0\\norder-food-1 database-load 3\\norder-food-1 order-food \\n' ;;
        *"logs order-food-1 --container database-load"*) echo 'products.csv line 7: price' ;;
      esac`,
    );
    const { code, stderr, stdout } = deploy();
    expect(code).toBe(1);
    expect(stderr).toContain('container database-load ended with exit code 3');
    expect(stderr).toContain('products.csv line 7: price');
    expect(stderr).toContain('remedy: the data or the schema was refused');
    expect(stdout).not.toContain('The shop is up');
  });
});

test('build makes the three images and hands them to the node', async () => {
  expect(deploy('build', '--tag', 'v2').code).toBe(0);
  const made = await calls();
  for (const [image, file] of [
    ['database-migration', 'migrator/Dockerfile'],
    ['database-load', 'loader/Dockerfile'],
    ['order-food', 'examples/order-food/Dockerfile'],
  ]) {
    expect(made.some((call) => call.startsWith(`docker build --tag ${image}:v2 --file ${file}`))).toBe(true);
    expect(made).toContain(`minikube image load ${image}:v2`);
  }
});

describe('run-now', () => {
  const kubectl = (state: string) => `case "$*" in
    *current-context*) echo minikube ;;
    *jsonpath*) echo '${state}' ;;
  esac`;

  test('makes a Job from the CronJob and waits for it', async () => {
    await stub('kubectl', kubectl('SuccessCriteriaMet Complete'));
    expect(deploy('run-now').code).toBe(0);
    expect(
      (await calls()).some((call) => /create job database-load-manual-\d+ --from cronjob\/database-load/.test(call)),
    ).toBe(true);
  });

  test('says when the run failed, and when it is not done in time', async () => {
    await stub('kubectl', kubectl('FailureTarget Failed'));
    expect(deploy('run-now')).toMatchObject({ code: 1, stderr: expect.stringContaining('tableset_runs') });
    await stub('kubectl', kubectl(''));
    expect(deploy('run-now', '--timeout', '1s')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not done after 1s'),
    });
  });
});

test('down uninstalls the app first, and only what is there', async () => {
  await stub('helm', 'case "$*" in *"status demo-mysql"*) exit 1 ;; esac');
  expect(deploy('down').code).toBe(0);
  const uninstalled = (await calls()).flatMap((call) => / uninstall (\S+)/.exec(call)?.[1] ?? []);
  expect(uninstalled).toEqual(['order-food', 'database-load']);
});

test('what it does not know is refused, with its usage', async () => {
  for (const args of [['deply'], ['--contxt'], ['--timeout', '5'], ['--context'], ['--values', '/nowhere.yaml']]) {
    expect(deploy(...args)).toMatchObject({ code: 2, stderr: expect.stringContaining('usage:') });
  }
  expect(await calls()).toEqual([]);
});

test('a tool that is missing is named', async () => {
  await rm(join(folder, 'bin', 'helm'));
  expect(deploy()).toMatchObject({ code: 1, stderr: expect.stringContaining('helm is not on PATH') });
});
