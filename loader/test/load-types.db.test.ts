import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { LoaderFolder } from './run-loader.ts';
import { type TypeCase, typeCases } from './type-values.ts';

const definitions = (cases: readonly TypeCase[]) => cases.map(({ type }, index) => `c${index} ${type} NULL`).join(', ');
/** A row takes 8 KiB with all its pages, so that the types are spread over several tables. */
const columnsMax = 32;

function groups(cases: readonly TypeCase[]): readonly (readonly TypeCase[])[] {
  return Array.from({ length: Math.ceil(cases.length / columnsMax) }, (_, index) =>
    cases.slice(index * columnsMax, (index + 1) * columnsMax),
  );
}

const sourceText = (value: TypeCase['values'][number]) => (typeof value === 'string' ? value : value[0]);

/** Row `index` has the values number `index` of each column, shifted: the last row is all NULL. */
function jsonLines(cases: readonly TypeCase[], rows: number, shift: number): string {
  const lines = Array.from({ length: rows }, (_, index) => {
    const fields = cases.map(({ values }, column) => {
      const value = index === rows - 1 ? undefined : values[(index + shift) % values.length];
      return [`c${column}`, value === undefined ? null : sourceText(value)] as const;
    });
    return JSON.stringify({ id: index, ...Object.fromEntries(fields) });
  });
  return `${lines.join('\n')}\n`;
}

async function fillReference(
  schema: TestSchema,
  table: string,
  cases: readonly TypeCase[],
  rows: number,
): Promise<void> {
  for (let index = 0; index < rows; index++) {
    const parameters: string[] = [];
    const literals = cases.map(({ values }) => {
      const value = index === rows - 1 ? undefined : values[index % values.length];
      if (value === undefined) return 'NULL';
      if (typeof value !== 'string') return value[1];
      parameters.push(value);
      return '?';
    });
    await schema.query(`INSERT INTO ${table} VALUES (${[index, ...literals].join(', ')})`, parameters);
  }
}

/** Columns and rows in which a table differs from the one that plain SQL filled. */
async function differences(
  schema: TestSchema,
  table: string,
  reference: string,
  cases: readonly TypeCase[],
): Promise<unknown> {
  const found: string[] = [];
  for (const [index, { type, compare }] of cases.entries()) {
    const [a, b] = [`a.c${index}`, `b.c${index}`];
    const printed = (side: string) => (compare === 'bytes' ? `HEX(${side})` : `CAST(${side} AS CHAR)`);
    const bits = compare === 'number' ? `${a} <=> ${b} AND ` : '';
    const rows = await schema.query(
      `SELECT b.id, LEFT(${printed(a)}, 80) AS is_now, LEFT(${printed(b)}, 80) AS should_be FROM ${reference} b LEFT JOIN ${table} a ON a.id = b.id
       WHERE a.id IS NULL OR NOT (${bits}CAST(${printed(a)} AS BINARY) <=> CAST(${printed(b)} AS BINARY))`,
    );
    found.push(...rows.map((row) => `${type}: ${JSON.stringify(row)}`));
  }
  return found;
}

describeEachServer('values of every type', (server) => {
  for (const localInfile of ['on', 'off'] as const) {
    test(`are stored byte for byte in each publish mode, with localInfile ${localInfile}`, async () => {
      const schema = await server.createSchema();
      await schema.query("SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'");
      for (const [group, cases] of groups(typeCases(server.flavour)).entries()) {
        const rows = Math.max(...cases.map(({ values }) => values.length)) + 1;
        const [reference, ...tables] = ['reference', 'swap', 'direct', 'delta'].map((name) => `${name}_${group}`);
        for (const table of [reference, ...tables])
          await schema.query(`CREATE TABLE ${table} (id INT PRIMARY KEY, ${definitions(cases)}) CHARACTER SET utf8mb4`);
        await fillReference(schema, `${reference}`, cases, rows);
        const entries = tables.map((table) => ({
          table,
          source: `${group}.jsonl`,
          localInfile,
          publish: table.split('_')[0],
          columns: Object.fromEntries(
            cases.flatMap(({ type }, index) => (type === 'JSON' ? [[`c${index}`, { type: 'json' }]] : [])),
          ),
        }));
        // The table of the delta has every value in another row.
        const folder = new LoaderFolder(
          schema,
          entries.slice(2).map((entry) => ({ ...entry, publish: 'auto' })),
          {
            [`${group}.jsonl`]: jsonLines(cases, rows, 1),
          },
        );
        await folder.load();
        folder.configure(entries);
        folder.write({ [`${group}.jsonl`]: jsonLines(cases, rows, 0) });
        const loaded = await folder.load();
        expect(loaded.map(({ publish, rejected }) => [publish, rejected])).toEqual([
          ['swap', 0],
          ['direct', 0],
          ['delta', 0],
        ]);
        for (const table of tables) expect(await differences(schema, table, `${reference}`, cases)).toEqual([]);
        folder.configure(entries.map((entry) => ({ ...entry, publish: 'auto' })));
        expect((await folder.load()).map(({ unchanged, publish }) => [unchanged, publish])).toEqual(
          tables.map(() => [rows, null]),
        );
      }
    });

    test(`that the type does not hold are refused and never altered, with localInfile ${localInfile}`, async () => {
      const schema = await server.createSchema();
      const cases = typeCases(server.flavour).filter(({ refused }) => refused.length > 0);
      for (const [group, some] of groups(cases).entries()) {
        await schema.query(`CREATE TABLE t_${group} (id INT PRIMARY KEY, ${definitions(some)}) CHARACTER SET utf8mb4`);
        const bad = some.flatMap(({ type, refused }, column) => refused.map((value) => ({ type, column, value })));
        const lines = bad.map(({ column, value }, id) => JSON.stringify({ id, [`c${column}`]: value }));
        const fields = Object.fromEntries(some.map((_, column) => [`c${column}`, null]));
        const folder = new LoaderFolder(
          schema,
          [
            {
              table: `t_${group}`,
              source: 't.jsonl',
              localInfile,
              maxRejects: bad.length,
              columns: Object.fromEntries(
                some.flatMap(({ type }, index) => (type === 'JSON' ? [[`c${index}`, { type: 'json' }]] : [])),
              ),
            },
          ],
          { 't.jsonl': `${JSON.stringify({ id: -1, ...fields })}\n${lines.join('\n')}\n` },
        );
        await folder.load();
        const taken = await schema.query(`SELECT id FROM t_${group} WHERE id >= 0`);
        expect(taken.map(({ id }) => JSON.stringify(bad[Number(id)]))).toEqual([]);
      }
    });
  }

  test('in invisible columns survive, and generated columns are worked out by the server', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE t (id INT PRIMARY KEY, hidden VARCHAR(9) ${server.flavour === 'mysql' ? 'INVISIBLE' : 'INVISIBLE'} DEFAULT 'x', price INT,
      doubled INT AS (price * 2) VIRTUAL, tripled INT AS (price * 3) STORED)`);
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], {
      't.csv': 'id,hidden,price\n1,a,5\n2,,6\n',
    });
    expect(await folder.load()).toMatchObject([{ publish: 'swap', inserted: 2 }]);
    expect(await schema.query('SELECT id, hidden, doubled, tripled FROM t ORDER BY id')).toEqual([
      { id: 1, hidden: 'a', doubled: 10, tripled: 15 },
      { id: 2, hidden: null, doubled: 12, tripled: 18 },
    ]);
    expect(await folder.load()).toMatchObject([{ unchanged: 2 }]);
    folder.write({ 't.csv': 'id,hidden,price,doubled\n1,a,5,99\n' });
    const refused = await folder.run();
    expect(refused.summary.error?.code).toBe('LOAD_COLUMN_UNSUPPORTED');
    folder.configure([{ table: 't', source: 't.csv', ignore: ['doubled'] }]);
    expect(await folder.load()).toMatchObject([{ unchanged: 1 }]);
  });
});
