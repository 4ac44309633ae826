import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { databaseSettings, databaseSettingTable, lockSettingTable } from '../src/settings/database.ts';
import { settingsHelp } from '../src/settings/help.ts';
import { choice, integer, list, secretText, text, toggle } from '../src/settings/kinds.ts';
import { nearestName } from '../src/settings/nearest.ts';
import { parseArguments, resolveSettings, type SettingTable, waysToSet } from '../src/settings/settings.ts';

const table = {
  host: { flag: 'host', env: 'HOST', file: 'database.host', kind: text('HOST'), required: true, meaning: 'Where.' },
  port: { flag: 'port', env: 'PORT', kind: integer(1, 65535), default: 3306, meaning: 'Which.' },
  mode: { flag: 'mode', kind: choice('fast', 'safe'), default: 'safe', meaning: 'How.' },
  dryRun: { flag: 'dry-run', env: 'DRY_RUN', kind: toggle(), default: false, meaning: 'Whether.' },
  only: { flag: 'only', env: 'ONLY', kind: list('NAME'), meaning: 'What.' },
  secret: { env: 'SECRET', kind: secretText(), secret: true, meaning: 'Never shown.' },
} as const satisfies SettingTable;

const refusal = (code: string, message: string) =>
  expect.objectContaining({ code, exit: 2, message: expect.stringContaining(message) });

function resolve(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
  file?: Readonly<Record<string, unknown>>,
) {
  return resolveSettings(table, parseArguments(table, argv).given, {
    env: { HOST: 'h', ...env },
    ...(file ? { file: { path: '/c.yaml', values: file } } : {}),
  });
}

describe('settings', () => {
  test('come from the flag, then the environment, then the file, then the default', () => {
    const file = { database: { host: 'of the file' } };
    expect(resolve([], {}, file).host).toBe('h');
    expect(resolveSettings(table, new Map(), { env: {}, file: { path: '/c', values: file } }).host).toBe('of the file');
    expect(resolve(['--host', 'flag'], {}, file).host).toBe('flag');
    expect(resolve([]).port).toBe(3306);
    expect(resolve([], { PORT: '5' }).port).toBe(5);
    expect(resolve(['--port=7'], { PORT: '5' }).port).toBe(7);
    expect(resolve([]).only).toBeUndefined();
  });

  test.each([
    [['--dry-run'], { dryRun: true }],
    [['--no-dry-run'], { dryRun: false }],
    [['--dry-run=false'], { dryRun: false }],
    [['--only', 'a', '--only', 'b,c'], { only: ['a', 'b', 'c'] }],
    [['--mode=fast'], { mode: 'fast' }],
    [['--host='], null],
    [['--port', '0'], null],
    [['--port', '1e3'], null],
    [['--port', '65536'], null],
    [['--port', ' 5'], null],
    [['--mode', 'quick'], null],
    [['--dry-run=yes'], null],
    [['--only', 'a,,b'], null],
  ])('%j', (argv, expected) => {
    if (expected) expect(resolve(argv)).toMatchObject(expected);
    else expect(() => resolve(argv)).toThrow(refusal('SETTING_INVALID', `${argv[0]?.split('=')[0]} was given`));
  });

  test('that are empty in the environment are refused by name, since nothing falls back in silence', () => {
    expect(() => resolve([], { PORT: '' })).toThrow(refusal('SETTING_INVALID', 'PORT was given ""'));
    expect(() => resolve([], { HOST: '' })).toThrow(refusal('SETTING_INVALID', 'HOST was given ""'));
  });

  test('that are missing are named with every way to set them', () => {
    expect(() => resolveSettings(table, new Map(), { env: {} })).toThrow(refusal('SETTING_MISSING', 'HOST is not set'));
    expect(waysToSet(table.host)).toBe('--host, HOST or database.host in the configuration file');
  });

  test('are refused with what they were given, unless it is a secret', () => {
    expect(() => resolve(['--port', 'abc'])).toThrow('--port was given "abc"; it takes an integer from 1 to 65535');
    const hidden = { ...table, secret: { ...table.secret, kind: integer(1, 2) } };
    const given = parseArguments(hidden, []).given;
    expect(() => resolveSettings(hidden, given, { env: { HOST: 'h', SECRET: 'canary' } })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('canary') }),
    );
  });

  test('that do not exist are refused with the nearest name, and never with the value', () => {
    expect(() => parseArguments(table, ['--hots', 'x'])).toThrow(refusal('SETTING_UNKNOWN', 'did you mean --host?'));
    expect(() => parseArguments(table, ['--secret=canary'])).toThrow(
      expect.objectContaining({ code: 'SETTING_UNKNOWN', message: expect.not.stringContaining('canary') }),
    );
    expect(() => parseArguments(table, ['-x'])).toThrow(refusal('SETTING_UNKNOWN', '--x'));
    expect(() => parseArguments(table, ['--no-port'])).toThrow(refusal('SETTING_UNKNOWN', '--no-port'));
  });

  test('given twice, or without their value, are refused', () => {
    expect(() => parseArguments(table, ['--port', '1', '--port', '2'])).toThrow(refusal('SETTING_INVALID', 'twice'));
    expect(() => parseArguments(table, ['--port'])).toThrow(refusal('SETTING_INVALID', 'no value'));
    expect(() => parseArguments(table, ['--port', '--dry-run'])).toThrow(refusal('SETTING_INVALID', 'no value'));
  });

  test('are told from words, of which -- begins the rest', () => {
    expect(parseArguments(table, ['a', '--port', '1', '-', '--', '--port', 'b'])).toMatchObject({
      positionals: ['a', '-', '--port', 'b'],
      help: false,
    });
    expect(parseArguments(table, ['-h']).help).toBe(true);
  });

  test('never take keys of a file that it only inherits', () => {
    const inherits = { ...table, host: { ...table.host, file: 'constructor.name' } };
    expect(() => resolveSettings(inherits, new Map(), { env: {}, file: { path: '/c', values: {} } })).toThrow(
      refusal('SETTING_MISSING', 'HOST'),
    );
  });

  test('each have their line in the help, with flag, variable, default and meaning', () => {
    const help = settingsHelp({ ...databaseSettingTable, ...lockSettingTable }).join('\n');
    for (const setting of Object.values({ ...databaseSettingTable, ...lockSettingTable })) {
      expect(help).toContain(setting.env);
      expect(help).toContain(setting.meaning);
    }
    expect(settingsHelp(table).find((line) => line.includes('--mode'))).toMatch(/--mode fast\|safe +safe +How\.$/);
  });
});

describe('database settings', () => {
  const folder = mkdtempSync(join(tmpdir(), 'settings-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const of = (env: Readonly<Record<string, string>>) =>
    databaseSettings(
      resolveSettings(databaseSettingTable, new Map(), { env: { DB_HOST: 'h', DB_USER: 'u', DB_NAME: 'n', ...env } }),
    );

  test('take the password from a file, without the newline at its end', () => {
    writeFileSync(join(folder, 'password'), 'pass word\n\r\n');
    expect(of({ DB_PASSWORD_FILE: join(folder, 'password') }).password).toBe('pass word\n');
    expect(of({ DB_PASSWORD: 'x' }).password).toBe('x');
    expect(of({}).password).toBe('');
  });

  test('refuse two passwords, a file that is not there, and an authority that nothing checks', () => {
    expect(() => of({ DB_PASSWORD: 'x', DB_PASSWORD_FILE: '/y' })).toThrow(refusal('SETTING_INVALID', 'both set'));
    expect(() => of({ DB_PASSWORD_FILE: join(folder, 'none') })).toThrow(
      refusal('CONFIG_UNREADABLE', 'DB_PASSWORD_FILE (database.passwordFile)'),
    );
    expect(() => of({ DB_TLS_CA_FILE: '/ca.pem' })).toThrow(refusal('SETTING_INVALID', 'DB_TLS is disable'));
  });
});

describe('the nearest name', () => {
  test.each([
    ['colums', ['columns', 'column'], 'columns'],
    ['MODE', ['mode', 'model'], 'mode'],
    ['products', ['orders', 'categories'], null],
    ['x', [], null],
  ])('of %s among %j is %j', (name, candidates, expected) => {
    expect(nearestName(name, candidates)).toBe(expected);
  });
});
