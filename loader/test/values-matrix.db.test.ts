import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { bytesOf } from './archive-restore-kit.ts';
import { archiveServer } from './archive-two-server-kit.ts';
import { edgeCases, isOwn, isSmall, valuesMin } from './edge-values.ts';
import { ArchiveFolder, archiveSchema } from './run-archive.ts';
import { type S3Server, s3IsMissing, startS3Server } from './stores/s3-server.ts';
import type { TypeCase } from './type-values.ts';

/** A row takes 8 KiB with all its pages, so that the types are spread over several tables. */
const columnsMax = 24;

interface Group {
  readonly table: string;
  readonly cases: readonly TypeCase[];
  readonly rows: number;
}

/** The types that the other kind of server has not are in a table of their own. */
function groupsOf(all: readonly TypeCase[]): readonly Group[] {
  const common = all.filter(({ type }) => !isOwn(type));
  const chunks = Array.from({ length: Math.ceil(common.length / columnsMax) }, (_, index) =>
    common.slice(index * columnsMax, (index + 1) * columnsMax),
  );
  return [...chunks, all.filter(({ type }) => isOwn(type))].map((cases, index) => ({
    table: index === chunks.length ? 'types_own' : `types_${index}`,
    cases,
    rows: Math.max(...cases.map(({ values }) => values.length)) + 1,
  }));
}

/** The last row is all NULL; a column with fewer values has them again. */
const valueAt = ({ cases, rows }: Group, column: number, row: number) =>
  row === rows - 1 ? undefined : cases[column]?.values[row % (cases[column]?.values.length ?? 1)];

async function create(schema: TestSchema, { cases }: Group, table: string): Promise<void> {
  const columns = cases.map(({ type }, index) => `c${index} ${type} NULL`);
  await schema.query(
    `CREATE TABLE ${table} (id INT PRIMARY KEY, created_at DATETIME NOT NULL, ${columns.join(', ')}) CHARACTER SET utf8mb4`,
  );
}

/** Fills a table by plain SQL. */
async function fill(schema: TestSchema, group: Group, table: string): Promise<void> {
  for (let row = 0; row < group.rows; row++) {
    const parameters: string[] = [];
    const literals = group.cases.map((_case, column) => {
      const value = valueAt(group, column, row);
      if (value === undefined) return 'NULL';
      if (typeof value !== 'string') return value[1];
      parameters.push(value);
      return '?';
    });
    await schema.query(`INSERT INTO ${table} VALUES (${[row, "'2001-01-01'", ...literals].join(', ')})`, parameters);
  }
}

function jsonLines(group: Group): string {
  const lines = Array.from({ length: group.rows }, (_, row) => {
    const fields = group.cases.map((_case, column) => {
      const value = valueAt(group, column, row);
      return [`c${column}`, value === undefined ? null : typeof value === 'string' ? value : value[0]] as const;
    });
    return JSON.stringify({ id: row, created_at: '2001-01-01 00:00:00', ...Object.fromEntries(fields) });
  });
  return `${lines.join('\n')}\n`;
}

/** Columns and rows in which a table differs from what plain SQL made. */
async function differing(
  schema: TestSchema,
  group: Group,
  table: string,
  wanted: readonly string[],
): Promise<readonly string[]> {
  const names = ['id', 'created_at', ...group.cases.map(({ type }) => type)];
  const there = new Set(await bytesOf(schema, table));
  const missing = wanted.filter((line) => !there.has(line)).map((line) => line.split('|'));
  const found = new Map([...there].map((line) => [line.split('|')[0], line.split('|')]));
  const tell = (cells: readonly string[]) => {
    const now = found.get(cells[0]);
    if (!now) return [`row ${cells[0]} is not there`];
    return cells.flatMap((cell, at) =>
      cell === now[at] ? [] : [`${names[at]?.slice(0, 40)}: ${cell.slice(0, 80)} became ${now[at]?.slice(0, 80)}`],
    );
  };
  return [...missing.flatMap(tell), ...(there.size > wanted.length ? [`${there.size} rows`] : [])];
}

describeEachServer('every type with its edge values', (server) => {
  const other = archiveServer(server);
  let s3: S3Server;
  beforeAll(async () => {
    if (!s3IsMissing) s3 = await startS3Server();
  });
  afterAll(async () => await s3?.[Symbol.asyncDispose]());

  test('is at least forty types with twenty-five values, or all that they have', () => {
    const cases = edgeCases(server.flavour).filter(({ type }) => !isSmall(type));
    expect(cases.filter(({ values }) => values.length < valuesMin).map(({ type }) => type)).toEqual([]);
    expect(cases.length).toBeGreaterThanOrEqual(40);
  });

  async function loaded() {
    const schema = await server.createSchema();
    await schema.query("SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'");
    const groups = groupsOf(edgeCases(server.flavour));
    const wanted = new Map<string, readonly string[]>();
    const folder = new ArchiveFolder(schema, {});
    const load = groups.map(({ table, cases }) => ({
      table,
      source: `${table}.jsonl`,
      columns: Object.fromEntries(
        cases.flatMap(({ type }, at) => (type === 'JSON' ? [[`c${at}`, { type: 'json' }]] : [])),
      ),
    }));
    for (const group of groups) {
      await create(schema, group, `reference_${group.table}`);
      await fill(schema, group, `reference_${group.table}`);
      wanted.set(group.table, await bytesOf(schema, `reference_${group.table}`));
      await create(schema, group, group.table);
      folder.write(`${group.table}.jsonl`, jsonLines(group));
    }
    folder.configure({ load });
    const run = await folder.run('load');
    expect([run.exit, run.summary.error]).toEqual([0, undefined]);
    const check = async () => {
      const all = groups.map((group) => differing(schema, group, group.table, wanted.get(group.table) ?? []));
      return (await Promise.all(all)).flat();
    };
    expect(await check()).toEqual([]);
    return { schema, folder, groups, check };
  }

  test('faults 39 to 42: goes through load, archive and restore byte for byte in every store', async () => {
    const { schema, folder, groups, check } = await loaded();
    const same = await archiveSchema(server, schema);
    const away = await other.createSchema();
    const { DB_HOST: host, DB_PORT: port } = away.environment;
    folder.write('password', away.password);
    const login = { host, port: Number(port), user: away.user, passwordFile: 'password', name: away.name };
    const stores: Record<string, unknown> = {
      beside: { mysql: { name: same.name } },
      parquet: { filesystem: { path: 'parquet' } },
      jsonl: { filesystem: { path: 'jsonl', format: 'jsonl', compression: 'gzip' } },
      sqlite: { sqlite: { path: 'cold.sqlite' } },
      ...(s3IsMissing ? {} : { bucket: { s3: { bucket: await s3.createBucket(), prefix: 'a', ...s3.settings() } } }),
      away: { mysql: { ...login, acceptNotDurable: true } },
    };
    for (const name of ['parquet', 'jsonl']) mkdirSync(join(folder.path, name));
    const entry = { dateColumn: 'created_at', archiveAfterDays: 30 };
    const useStore = (store: string, some: readonly Group[]) =>
      folder.configure({ stores, archive: some.map(({ table }) => ({ table, store, ...entry })) });

    for (const store of Object.keys(stores)) {
      let some = groups;
      if (store === 'away') {
        for (const group of groups.filter((each) => cannotCross(each))) {
          useStore(store, [group]);
          const { exit, summary } = await folder.run('archive');
          const code = group.table === 'types_own' ? 'ARCHIVE_STORE_UNSUITABLE' : 'ARCHIVE_VALUE_REFUSED';
          expect([exit, summary.error?.code], group.table).toEqual([3, code]);
          expect(await check()).toEqual([]);
        }
        some = groups.filter((group) => group.table !== 'types_own' || !cannotCross(group));
        await schema.script(withoutNegativeZero(some));
      }
      useStore(store, some);
      const before = new Map<string, readonly string[]>();
      for (const { table } of some) before.set(table, await bytesOf(schema, table));
      const archived = await folder.archive();
      expect(archived.map(({ deleted }) => deleted)).toEqual(some.map(({ rows }) => rows));
      for (const { table } of some) {
        const [batch] = await schema.query(
          "SELECT CAST(id AS CHAR) AS id FROM tableset_batches WHERE table_name = ? AND state = 'deleted' ORDER BY tableset_batches.id DESC LIMIT 1",
          [table],
        );
        const restored = await folder.run('restore', ['--table', table, '--batch', String(batch?.['id'])]);
        expect([restored.exit, restored.summary.error], `${store} ${table}`).toEqual([0, undefined]);
        expect(await bytesOf(schema, table), `${store} ${table}`).toEqual(before.get(table));
      }
      if (store !== 'away') expect(await check(), store).toEqual([]);
      await schema.query('DELETE FROM tableset_holds');
    }
  }, 600_000);

  /** MySQL has not MariaDB's own types, and MariaDB no negative zero in what it is sent. */
  function cannotCross({ table, cases }: Group): boolean {
    if (other.flavour === server.flavour) return false;
    return other.flavour === 'mysql' ? table === 'types_own' : cases.some((each) => hasNegativeZero(each));
  }
});

function withoutNegativeZero(groups: readonly Group[]): string {
  return groups
    .flatMap(({ table, cases }) =>
      cases.flatMap((each, at) =>
        hasNegativeZero(each) ? [`UPDATE ${table} SET c${at} = NULL WHERE CAST(c${at} AS CHAR) = '-0'`] : [],
      ),
    )
    .join('; ');
}

function hasNegativeZero({ compare, values }: TypeCase): boolean {
  return compare === 'number' && values.includes('-0');
}
