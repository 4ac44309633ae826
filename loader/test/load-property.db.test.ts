import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { csv, LoaderFolder } from './run-loader.ts';

interface Row {
  readonly code: string;
  readonly note: string | null;
  readonly amount: string | null;
  readonly at: string | null;
  readonly kind: string;
}

type Change =
  | { readonly kind: 'delete' | 'rekey' | 'recase' | 'repeat'; readonly at: number }
  | { readonly kind: 'insert' | 'note' | 'amount' | 'time'; readonly at: number; readonly value: string | null };

const columns = ['code', 'note', 'amount', 'at', 'kind'] as const;
const modes = ['upsert', 'insert', 'mirror'] as const;

/** Texts that parsers, separators, escapes and collations trip over. */
const text = fc.oneof(
  fc.constantFrom(
    '',
    ' ',
    'a',
    'A',
    'a ',
    '\\N',
    'NULL',
    '\\',
    '\t',
    '\n',
    '\r\n',
    ',',
    ';',
    '|',
    '"',
    "'",
    '`',
    '😀',
    'ü',
    'u\u0308',
    '0',
    '1.0',
    '%',
    '_',
  ),
  fc.string({ unit: fc.constantFrom('a', 'B', 'é', '😀', '\\', '\t', ',', '"', '\n', 'N', '0', ' '), maxLength: 12 }),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
);
const position = fc.nat({ max: 1_000_000 });
const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constantFrom('delete', 'rekey', 'recase', 'repeat'), at: position }),
    fc.record({ kind: fc.constantFrom('insert', 'note'), at: position, value: fc.option(text) }),
    fc.record({
      kind: fc.constant('amount'),
      at: position,
      value: fc.constantFrom(null, '0', '-1.5', '99999.999', '1.50'),
    }),
    fc.record({
      kind: fc.constant('time'),
      at: position,
      value: fc.constantFrom(null, '2024-02-29 23:59:59.999', '1000-01-01 00:00:00'),
    }),
  ),
  { minLength: 1, maxLength: 60 },
);

function change(rows: Row[], each: Change, ordinal: number): void {
  const index = each.at % rows.length;
  const row = rows[index];
  if (row === undefined) return;
  switch (each.kind) {
    case 'delete':
      if (rows.length > 1) rows.splice(index, 1);
      return;
    case 'rekey':
      rows[index] = { ...row, code: `r${ordinal}x${each.at}` };
      return;
    case 'recase':
      rows[index] = {
        ...row,
        code: row.code === row.code.toUpperCase() ? row.code.toLowerCase() : row.code.toUpperCase(),
      };
      return;
    case 'repeat':
      return;
    case 'insert':
      rows.splice(index, 0, { ...row, code: `n${ordinal}x${each.at}`, note: each.value });
      return;
    case 'note':
      rows[index] = { ...row, note: each.value };
      return;
    case 'amount':
      rows[index] = { ...row, amount: each.value };
      return;
    case 'time':
      rows[index] = { ...row, at: each.value };
      return;
    default:
      each satisfies never;
  }
}

/** A row as the server prints it. */
function stored(row: Row): Row {
  const [whole = '', fraction = ''] = (row.amount ?? '').split('.');
  const amount = row.amount === null ? null : `${whole}.${fraction.padEnd(3, '0')}`;
  const at = row.at?.length === 19 ? `${row.at}.000` : row.at;
  return { ...row, amount, at };
}

const folded = (row: Row) => row.code.toLowerCase();

/** What the table holds after a load, and what the load says it did. */
function loaded(table: readonly Row[], source: readonly Row[], mode: (typeof modes)[number], repeated: number) {
  const before = new Map(table.map((row) => [folded(row), row]));
  const wanted = new Map(source.map((row) => [folded(row), stored(row)]));
  const differs = (row: Row) => JSON.stringify(before.get(folded(row))) !== JSON.stringify(row);
  const inserted = [...wanted.values()].filter((row) => !before.has(folded(row)));
  const updated =
    mode === 'insert' ? [] : [...wanted.values()].filter((row) => before.has(folded(row)) && differs(row));
  const deleted = mode === 'mirror' ? table.filter((row) => !wanted.has(folded(row))) : [];
  const after = new Map(mode === 'mirror' ? [] : before);
  for (const [key, row] of wanted) if (mode !== 'insert' || !after.has(key)) after.set(key, row);
  const counts = {
    read: source.length + repeated,
    inserted: inserted.length,
    updated: updated.length,
    deleted: deleted.length,
    unchanged: source.length + repeated - inserted.length - updated.length,
  };
  return { after: [...after.values()].sort(byCode), counts };
}

function byCode(left: Row, right: Row): number {
  return Buffer.compare(Buffer.from(left.code), Buffer.from(right.code));
}

async function readTable(schema: TestSchema): Promise<Row[]> {
  // The cast keeps the test's driver from working on the values.
  const rows = await schema.query(
    `SELECT code, note, CAST(amount AS CHAR) AS amount, CAST(at AS CHAR) AS at, CAST(kind AS CHAR) AS kind FROM p`,
  );
  return (rows as unknown as Row[]).map((row) => ({ ...row })).sort(byCode);
}

for (const [what, rowCount] of [
  ['staged at once', 300],
  ['compared by digests first', 5600],
] as const) {
  describeEachServer(`random changes, ${what},`, (server) => {
    for (const mode of modes) {
      test(`leave in mode ${mode} exactly what the source says`, async () => {
        const schema = await server.createSchema();
        await schema.script(`CREATE TABLE p (code VARCHAR(40) COLLATE utf8mb4_general_ci PRIMARY KEY, note VARCHAR(80) COLLATE utf8mb4_general_ci NULL,
          amount DECIMAL(12,3) NULL, at DATETIME(3) NULL, kind ENUM('x','y,z') NOT NULL, KEY note (note)) CHARACTER SET utf8mb4`);
        const jsonl = rowCount < 1000;
        const guard = mode === 'mirror' ? { maxDeletes: { percent: 100 } } : {};
        const folder = new LoaderFolder(schema, [
          {
            table: 'p',
            source: jsonl ? 'p.jsonl' : 'p.csv',
            mode,
            localInfile: server.localInfile ? 'auto' : 'off',
            ...guard,
          },
        ]);
        const write = (rows: readonly Row[]) =>
          jsonl
            ? folder.write({ 'p.jsonl': rows.map((row) => `${JSON.stringify(row)}\n`).join('') })
            : folder.write({
                'p.csv': csv(
                  columns,
                  rows.map((row) => columns.map((name) => row[name])),
                ),
              });
        let source: Row[] = Array.from({ length: rowCount }, (_, index) => ({
          code: `key${index}`,
          note: index % 7 === 0 ? null : `note ${index}`,
          amount: index % 5 === 0 ? null : `${index}.25`,
          at: '2024-01-01 00:00:00.000',
          kind: index % 3 === 0 ? 'y,z' : 'x',
        }));
        write(source);
        await folder.load();
        let table = await readTable(schema);
        expect(table).toEqual(source.map(stored).sort(byCode));
        let ordinal = 0;
        await fc.assert(
          fc.asyncProperty(changes, async (list) => {
            // Also the changes that are meant to be found in the table rather than in the source.
            source = table.map((row) => ({ ...row }));
            for (const each of list) change(source, each, ordinal++);
            const repeats = list.flatMap((each) => {
              const row = each.kind === 'repeat' ? source[each.at % source.length] : undefined;
              return row ? [row] : [];
            });
            write([...source, ...repeats]);
            const { after, counts } = loaded(table, source, mode, repeats.length);
            expect((await folder.load())[0]).toMatchObject(counts);
            table = await readTable(schema);
            expect(table).toEqual(after);
          }),
          { numRuns: 3, endOnFailure: true },
        );
        const read = (await folder.load())[0];
        expect(read).toMatchObject({ inserted: 0, updated: 0, deleted: 0, publish: null });
      });
    }
  });
}
