import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError } from '@tableset/common/errors.ts';
import { expect, test } from 'vitest';
import { type Problem, readConfig, validateConfig } from '../src/config/read.ts';
import { configurationJsonSchema } from '../src/config/reference.ts';

const path = '/config/config.yaml';

/** Problems of a file that must be refused, as `line:column path`, and all messages. */
async function invalid(text: string): Promise<{ places: readonly string[]; message: string }> {
  try {
    await validateConfig(text, path);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    expect(error.code).toBe('CONFIG_INVALID');
    const problems = (error.details['problems'] ?? []) as Problem[];
    return { places: problems.map((each) => `${each.line}:${each.column} ${each.path}`), message: error.message };
  }
  throw new Error('the configuration was accepted');
}

/** A file with one archived table; `entry` goes into its entry, `rest` after it. */
const archive = (entry = '', rest = '') =>
  `stores: {cold: {sqlite: {path: a.db}}}\narchive:\n  - {table: orders, dateColumn: created_at, archiveAfterDays: 180, store: cold${entry === '' ? '' : `, ${entry}`}}\n${rest}`;

const design = `stores:
  cold: {mysql: {host: archive-db, user: archiver, passwordFile: secrets/archiver, name: archive}}
archive:
  - table: orders
    dateColumn: created_at
    archiveAfterDays: 180
    deleteAfterDays: 730
    store: cold
    children: [order_items]
    enabled: true
limits: {batchRows: 2000, maxRuntime: 2h, window: "01:00-05:00 Europe/Berlin", maxReplicaLagSeconds: 5, maxThreadsRunning: 25}
`;

const child = {
  table: 'order_items',
  on: null,
  when: null,
  resolutionSeconds: null,
  dateColumn: null,
  leftOut: 'keep',
  archiveTable: null,
};

test('a file that only archives is completed', async () => {
  const config = await validateConfig(design, path);
  expect(config.load).toEqual([]);
  expect(config.archive).toEqual([
    {
      table: 'orders',
      dateColumn: 'created_at',
      dateType: 'date',
      dateZone: 'UTC',
      archiveAfterDays: 180,
      deleteAfterDays: 730,
      enabled: true,
      store: 'cold',
      archiveTable: null,
      children: [child],
      where: [],
      evolve: 'refuse',
      deleteDelaySeconds: 0,
      allowDeleteTriggers: false,
      position: '/config/config.yaml:4:5',
    },
  ]);
  expect(config.stores).toMatchObject([
    {
      name: 'cold',
      kind: 'mysql',
      position: '/config/config.yaml:2:9',
      schema: 'archive',
      acceptNotDurable: false,
      server: { host: 'archive-db', port: 3306, user: 'archiver', tls: 'disable', waitSeconds: 60 },
    },
  ]);
  expect(config.limits).toEqual({
    batchRows: 2000,
    targetBatchSeconds: 0.5,
    parallelBatches: 2,
    niceRatio: 0,
    maxRuntimeSeconds: 7200,
    window: { fromMinute: 60, toMinute: 300, zone: 'Europe/Berlin' },
    maxReplicaLagSeconds: 5,
    replicas: [],
    maxThreadsRunning: 25,
    maxDeletes: { rows: null, percent: null },
  });
});

test('a file that only loads has the same limits as one that says nothing of them', async () => {
  const loads = await validateConfig('load: [{table: t, source: t.csv}]', path);
  expect(loads).toMatchObject({ archive: [], stores: [] });
  expect(loads.limits).toEqual((await validateConfig(archive(), path)).limits);
});

test('everything an entry can say is understood', async () => {
  const entry = `dateType: epoch-seconds, archiveTable: old_orders, deleteDelay: 1h30m, evolve: add-columns, enabled: false,
    allowDeleteTriggers: true, deleteAfterDays: 180,
    where: [{column: status, operator: in, value: [done, 7]}, {column: paid, value: true}, {column: note, operator: is not null}],
    children: [items, {table: order_events, on: {order_id: id}, when: {column: item_count, atMost: 8}, resolutionSeconds: 300, dateColumn: at, leftOut: drop, archiveTable: events}]`;
  expect((await validateConfig(archive(entry), path)).archive[0]).toMatchObject({
    dateType: 'epoch-seconds',
    archiveTable: 'old_orders',
    deleteDelaySeconds: 5400,
    evolve: 'add-columns',
    enabled: false,
    allowDeleteTriggers: true,
    deleteAfterDays: 180,
    where: [
      { column: 'status', operator: 'in', value: ['done', 7] },
      { column: 'paid', operator: '=', value: true },
      { column: 'note', operator: 'is not null' },
    ],
    children: [
      { ...child, table: 'items' },
      {
        table: 'order_events',
        on: { order_id: 'id' },
        when: { column: 'item_count', atMost: 8 },
        resolutionSeconds: 300,
        dateColumn: 'at',
        leftOut: 'drop',
        archiveTable: 'events',
      },
    ],
  });
});

test.each([
  ['{mysql: {name: archive}}', { kind: 'mysql', server: null, schema: 'archive' }],
  [
    '{mysql: {host: h, port: 3307, user: u, name: a, tls: verify, tlsCaFile: ca.pem, acceptNotDurable: true}}',
    { server: { host: 'h', port: 3307, tls: 'verify', tlsCaFile: '/config/ca.pem' }, acceptNotDurable: true },
  ],
  [
    '{filesystem: {path: archive}}',
    { kind: 'filesystem', folder: '/config/archive', files: { format: 'parquet', compression: 'zstd' } },
  ],
  [
    '{filesystem: {path: /a, format: jsonl, compression: gzip}}',
    { folder: '/a', files: { format: 'jsonl', compression: 'gzip' } },
  ],
  [
    '{s3: {bucket: b, prefix: /shop/orders/, endpoint: "http://minio:9000", forcePathStyle: true, accessKeyIdFile: id, secretAccessKeyFile: key}}',
    {
      kind: 's3',
      bucket: 'b',
      prefix: 'shop/orders',
      s3: {
        endpoint: 'http://minio:9000',
        forcePathStyle: true,
        accessKeyIdFile: '/config/id',
        secretAccessKeyFile: '/config/key',
      },
      files: { format: 'parquet', compression: 'zstd' },
    },
  ],
  ['{sqlite: {path: a.db}}', { kind: 'sqlite', path: '/config/a.db' }],
])('the store %s is understood', async (store, expected) => {
  const text = `load: [{table: t, source: t.csv}]\nstores:\n  cold: ${store}\n`;
  expect((await validateConfig(text, path)).stores).toMatchObject([
    { name: 'cold', position: `${path}:3:9`, ...expected },
  ]);
});

test("a store's password is read when it is needed, so that a file is checked where the secret is not", async () => {
  const store = (place: string) =>
    `stores: {cold: {mysql: {host: h, user: u, name: a, ${place}}}}\nload: [{table: t, source: t.csv}]`;
  const password = (config: { readonly stores: readonly object[] }) => {
    const [settings] = config.stores as readonly { server: { password: string } }[];
    return settings?.server.password;
  };
  const folder = await mkdtemp(join(tmpdir(), 'config-'));
  try {
    const file = join(folder, 'config.yaml');
    await writeFile(file, store('passwordFile: secret'));
    const config = await readConfig(file);
    expect(() => password(config)).toThrow(expect.objectContaining({ code: 'CONFIG_UNREADABLE' }));
    await writeFile(join(folder, 'secret'), 'hunter2\n');
    expect(password(config)).toBe('hunter2');
    await writeFile(file, store('passwordEnv: ARCHIVE_PASSWORD'));
    expect(password(await readConfig(file, { ARCHIVE_PASSWORD: 'hunter3' }))).toBe('hunter3');
    const unset = await readConfig(file, {});
    expect(() => password(unset)).toThrow('stores.cold.mysql.passwordEnv names ARCHIVE_PASSWORD');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('every fault is told at once, each at its place', async () => {
  const { places, message } = await invalid(`stores:
  cold: {sqlite: {path: a.db}}
  two: {sqlite: {path: a.db}, filesystem: {path: x}}
  none: {}
  odd: {flesystem: {path: x}}
  lost: {mysql: {name: a, port: 3306}}
  half: {mysql: {name: a, host: h}}
archive:
  - {table: orders, dateColumn: d, archiveAfterDays: 9, deleteAfterDays: 8, store: cold}
  - {table: orders, dateColumn: d, archiveAfterDays: 9, store: cald}
  - {table: logs, dateColumn: d, archiveAfterDays: -1, store: cold}
  - {table: a, dateColumn: d, dateZone: Europe/Berlim, archiveAfterDays: 9, store: cold, children: [b, a, b]}
  - {table: c, dateColumn: d, dateType: epoch-seconds, dateZone: UTC, archiveAfterDays: 9, store: cold, archiveTable: a}
limits: {maxRuntime: 2 hours, window: "1-5", batchRows: 0}
`);
  expect(places).toEqual([
    '3:8 stores.two',
    '4:9 stores.none',
    '5:9 stores.odd.flesystem',
    '6:27 stores.lost.mysql.port',
    '7:17 stores.half.mysql.user',
    '9:74 archive[0].deleteAfterDays',
    '10:13 archive[1].table',
    '10:64 archive[1].store',
    '11:52 archive[2].archiveAfterDays',
    '12:41 archive[3].dateZone',
    '12:104 archive[3].children[1]',
    '12:107 archive[3].children[2]',
    '13:56 archive[4].dateZone',
    '13:119 archive[4].archiveTable',
    '14:22 limits.maxRuntime',
    '14:39 limits.window',
    '14:57 limits.batchRows',
  ]);
  expect(message).toContain('there is no key flesystem here; did you mean filesystem?');
  expect(message).toContain('takes one of mysql, filesystem, s3, sqlite, and has filesystem and sqlite');
  expect(message).toContain('no store of the name cald under stores; did you mean cold?');
  expect(message).toContain('orders is archived by archive[0] already');
  expect(message).toContain('takes a duration such as 2h, 90m or 1h30m, and was given "2 hours"');
  expect(message).toContain('takes times of day and a zone, such as 01:00-05:00 Europe/Berlin');
  expect(message).toContain('the store cold has a under the name a already');
});

test.each([
  ['neither load nor archive', 'stores: {cold: {sqlite: {path: a.db}}}', 'a configuration has load, archive or both'],
  ['a misspelt section', 'archve: []\nload: [{table: t, source: t.csv}]', 'did you mean archive?'],
  ['an empty list', 'archive: []', 'archive: takes at least 1 entry'],
  ['no store at all', 'archive: [{table: o, dateColumn: d, archiveAfterDays: 1, store: x}]', 'there are none'],
  ['a store name with a space', 'stores: {a b: {sqlite: {path: x}}}\nload: []', 'stores.a b'],
  [
    'an inline password',
    'stores: {c: {mysql: {host: h, user: u, name: a, password: hunter2}}}\nload: []',
    'passwordFile',
  ],
  [
    'two passwords',
    'stores: {c: {mysql: {host: h, user: u, name: a, passwordFile: f, passwordEnv: E}}}\nload: []',
    'use one',
  ],
  ['authorities unused', 'stores: {c: {mysql: {host: h, user: u, name: a, tlsCaFile: f}}}\nload: []', 'tls: verify'],
  ['half a key pair', 'stores: {c: {s3: {bucket: b, accessKeyIdFile: f}}}\nload: []', 'together or not at all'],
  ['a way out of the prefix', 'stores: {c: {s3: {bucket: b, prefix: a/../b}}}\nload: []', 'stores.c.s3.prefix'],
])('%s: refused', async (_name, text, message) => {
  const told = (await invalid(text)).message;
  expect(told).toContain(message);
  expect(told).not.toContain('hunter2');
});

test.each([
  ['where: [{column: a}]', 'is missing; = takes one'],
  ['where: [{column: a, operator: in, value: 1}]', 'takes a list for in'],
  ['where: [{column: a, value: [1]}]', 'use in or not in'],
  ['where: [{column: a, operator: is null, value: 1}]', 'is null takes none'],
  ['where: [{column: a, operator: like, value: x}]', 'takes one of =, !=, <'],
  ['where: [{column: a, value: 12345678901234567890}]', 'put it in quotes'],
  ['where: "status = 1"', 'takes a list'],
  ['children: [{table: b, when: {column: a}}]', 'takes atMost, atLeast or both'],
  ['children: [{table: b, when: {column: a, atMost: 1, atLeast: 2}}]', 'is more than atMost'],
  ['children: [{table: b, leftOut: drop}]', 'is for when or resolutionSeconds'],
  ['children: [{table: b, dateColumn: d}]', 'is for resolutionSeconds'],
  ['children: [{table: b, on: {}}]', 'names no column'],
  ['children: [{tabel: b}]', 'did you mean table?'],
  ['children: [{table: b, archiveTable: orders}]', 'has orders under the name orders already'],
  ['archiveTable: tableset_manifests', "Tableset's own tables"],
  ['deleteDelay: 10', 'archive[0].deleteDelay'],
])('an entry with %s is refused', async (entry, message) => {
  expect((await invalid(archive(entry))).message).toContain(message);
});

test.each([
  ['maxRuntime: 0s', 'leaves no time'],
  ['window: 01:00-01:00', 'ends when it begins'],
  ['window: 01:00-05:00 Mars/Olympus', 'unknown zone "Mars/Olympus"'],
  ['window: 24:00-05:00', 'takes times of day'],
  ['replicas: [{host: r}]', 'is for maxReplicaLagSeconds'],
  ['maxDeletes: {percent: 101}', 'takes a number of at most 100'],
])('limits with %s are refused', async (limit, message) => {
  expect((await invalid(archive('', `limits: {${limit}}`))).message).toContain(message);
});

test.each([
  ['45s', 45],
  ['90m', 5400],
  ['1d12h', 129_600],
])('the duration %s is %i seconds', async (text, seconds) => {
  expect((await validateConfig(archive('', `limits: {maxRuntime: ${text}}`), path)).limits.maxRuntimeSeconds).toBe(
    seconds,
  );
});

test('a window spans midnight and is in UTC unless it names a zone', async () => {
  const { window } = (await validateConfig(archive('', 'limits: {window: 22:30-02:00}'), path)).limits;
  expect(window).toEqual({ fromMinute: 1350, toMinute: 120, zone: 'UTC' });
});

test('the same table may be a child of several tables, and the same name may stand in two stores', async () => {
  const text = `stores: {a: {sqlite: {path: a.db}}, b: {sqlite: {path: b.db}}, unused: {sqlite: {path: c.db}}}
archive:
  - {table: orders, dateColumn: d, archiveAfterDays: 1, store: a, children: [notes], archiveTable: old}
  - {table: refunds, dateColumn: d, archiveAfterDays: 1, store: a, children: [notes]}
  - {table: logs, dateColumn: d, archiveAfterDays: 1, store: b, archiveTable: old}
`;
  expect((await validateConfig(text, path)).archive).toHaveLength(3);
});

test('the JSON Schema takes a file with load or archive, and none with neither', () => {
  const schema = configurationJsonSchema();
  expect(schema).toMatchObject({ anyOf: [{ required: ['load'] }, { required: ['archive'] }] });
  expect(Object.keys(schema['properties'] as object)).toEqual(expect.arrayContaining(['archive', 'stores', 'limits']));
  expect(schema['required']).toBeUndefined();
});
