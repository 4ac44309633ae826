import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runMode } from '../src/run-mode.ts';

const program = join(import.meta.dirname, '../src/main.ts');

function run(mode: string, ...words: readonly string[]) {
  return spawnSync(process.execPath, [program, ...words], {
    env: { PATH: process.env['PATH'], RUN_MODE: mode },
    encoding: 'utf8',
  });
}

test('a RUN_MODE that is none names those there are, and what is named by a verb runs all the same', () => {
  const { status, stdout } = run('Service', '--json');
  expect(status).toBe(2);
  expect(JSON.parse(stdout)).toMatchObject({
    outcome: 'failed',
    error: { code: 'SETTING_INVALID', message: 'RUN_MODE is "Service"; it takes oneshot or service' },
  });
  expect(run('Service', 'schema').status).toBe(0);
}, 60_000);

test('RUN_MODE takes oneshot and service, exactly', () => {
  expect(runMode('service')).toEqual({ defaultVerb: 'serve', defaultVerbFault: null });
  for (const none of [undefined, '', 'oneshot'])
    expect(runMode(none)).toEqual({ defaultVerb: null, defaultVerbFault: null });
  for (const bad of ['serve', 'one-shot', 'SERVICE', ' service'])
    expect(runMode(bad).defaultVerbFault).toMatchObject({ code: 'SETTING_INVALID', exit: 2 });
});
