import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import type { Connection } from '@tableset/common/database/connection.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../../test/servers.ts';
import type { Cell } from '../../src/core/archive/canonical.ts';
import type { ManifestTable } from '../../src/core/archive/manifest.ts';
import { openFilesystemStore } from '../../src/stores/filesystem-store.ts';
import { type CellKind, cellKind } from '../../src/stores/formats/cell-kind.ts';
import { archive, newBatch, type Sample } from './contract.ts';
import { fillTypes, openPrimary, readSample } from './typed-rows.ts';

/** How DuckDB is asked for a column, so that its answer tells every two values apart, and what the answer for a cell must be. */
interface Question {
  readonly sql: (name: string) => string;
  readonly answer: (cell: Buffer) => unknown;
}

const hex: Question = { sql: (name) => `hex(${name})`, answer: (cell) => cell.toString('hex').toUpperCase() };
const whole: Question = { sql: (name) => `${name}::VARCHAR`, answer: (cell) => String(BigInt(cell.toString())) };
const text: Question = { sql: (name) => `hex(${name}::VARCHAR)`, answer: hex.answer };
const number: Question = { sql: (name) => name, answer: (cell) => Number(cell) };
const micros: Question = {
  sql: (name) => `epoch_us(${name})::VARCHAR`,
  answer(cell) {
    const [, seconds = '', fraction = ''] = /^([^.]+)\.?(\d*)$/.exec(cell.toString()) ?? [];
    const ms = BigInt(Date.parse(`${seconds.replace(' ', 'T')}Z`));
    return String(ms * 1000n + BigInt(fraction.padEnd(6, '0')));
  },
};

function inParquet(kind: CellKind): Question {
  switch (kind.kind) {
    case 'bytes':
      return hex;
    case 'integer':
      return whole;
    case 'float':
    case 'double':
      return number;
    case 'time':
      return micros;
    default:
      return text;
  }
}

function inJsonl(kind: CellKind): Question {
  if (kind.kind === 'bytes') return { sql: (name) => `hex(from_base64(${name}))`, answer: hex.answer };
  if (kind.kind === 'float' || kind.kind === 'double') {
    // Its reader of JSON takes -0 for the integer 0.
    return { sql: (name) => `CAST(${name} AS DOUBLE)`, answer: (cell) => Number(cell) + 0 };
  }
  return text;
}

describeEachServer('files as DuckDB reads them', (server) => {
  let schema: TestSchema;
  let primary: Connection;
  let folder: string;
  let samples: readonly Sample[];
  let duckdb: DuckDBConnection;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'duckdb-'));
    schema = await server.createSchema();
    primary = await openPrimary(schema);
    samples = [];
    for (const name of await fillTypes(schema, server.flavour)) samples = [...samples, await readSample(primary, name)];
    duckdb = await (await DuckDBInstance.create(':memory:')).connect();
  });
  afterAll(async () => {
    duckdb?.closeSync();
    await primary?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  async function ask(source: string, sample: Sample, question: (kind: CellKind) => Question): Promise<void> {
    const { columns } = sample.table;
    const questions = columns.map((column) => question(cellKind(column.columnType)));
    const selected = columns.map(({ name }, place) => questions[place]?.sql(`"${name}"`));
    const reader = await duckdb.runAndReadAll(`SELECT ${selected.join(', ')} FROM ${source} ORDER BY id::BIGINT`);
    const rows = reader.getRows();
    expect(rows).toHaveLength(sample.rows.length);
    for (const [at, row] of sample.rows.entries())
      for (const [place, cell] of row.entries()) {
        const wanted = (cell: Cell) => (cell === null ? null : questions[place]?.answer(cell));
        const found = { type: columns[place]?.columnType, value: rows[at]?.[place] };
        expect(found).toEqual({ type: columns[place]?.columnType, value: wanted(cell) });
      }
  }

  test.each(['zstd', 'gzip'] as const)('Parquet with %s: every value of every type', async (compression) => {
    const { batch, tables } = await written('parquet', compression);
    for (const [place, sample] of samples.entries()) {
      const file = join(folder, batch.rootTable, batch.id, tables[place]?.file?.name ?? '');
      await ask(`read_parquet('${file}')`, sample, inParquet);
      const metadata = await duckdb.runAndReadAll(
        `SELECT decode(key), decode(value) FROM parquet_kv_metadata('${file}') ORDER BY 1`,
      );
      expect(metadata.getRows()).toEqual([
        ['tableset.batch', batch.id],
        ['tableset.fingerprint', sample.table.fingerprint],
        ['tableset.table', sample.table.definition.name],
      ]);
    }
  });

  test.each(['zstd', 'gzip'] as const)('JSON Lines with %s: every value of every type', async (compression) => {
    const { batch, tables } = await written('jsonl', compression);
    for (const [place, sample] of samples.entries()) {
      const file = join(folder, batch.rootTable, batch.id, tables[place]?.file?.name ?? '');
      const types = sample.table.columns.map(({ name, columnType }) => {
        const { kind } = cellKind(columnType);
        return `"${name}": '${kind === 'float' || kind === 'double' ? 'DOUBLE' : 'VARCHAR'}'`;
      });
      const source = `read_json('${file}', format='newline_delimited', columns={${types.join(', ')}})`;
      await ask(source, sample, inJsonl);
    }
  });

  test('the types of Parquet are those of the columns', async () => {
    await schema.query(`CREATE TABLE typed (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT, d INT UNSIGNED, e BIGINT,
      f DECIMAL(9,2), g DECIMAL(18,0), h DECIMAL(38,10), i DECIMAL(39,10), j FLOAT, k DOUBLE, l DATE, m DATETIME(6), n TIMESTAMP(3) NULL, o TIME, p YEAR,
      q BIT(64), r VARCHAR(5), s BLOB, t JSON)`);
    const sample = await readSample(primary, 'typed');
    const { batch, tables } = await written('parquet', 'zstd', [sample]);
    const file = join(folder, batch.rootTable, batch.id, tables[0]?.file?.name ?? '');
    const described = await duckdb.runAndReadAll(`DESCRIBE SELECT * FROM read_parquet('${file}')`);
    expect(described.getRows().map(([name, type]) => `${name} ${type}`)).toEqual([
      'id UBIGINT',
      'a TINYINT',
      'b USMALLINT',
      'c INTEGER',
      'd UINTEGER',
      'e BIGINT',
      'f DECIMAL(9,2)',
      'g DECIMAL(18,0)',
      'h DECIMAL(38,10)',
      'i VARCHAR',
      'j FLOAT',
      'k DOUBLE',
      'l DATE',
      'm TIMESTAMP',
      'n TIMESTAMP WITH TIME ZONE',
      'o VARCHAR',
      'p INTEGER',
      'q UBIGINT',
      'r VARCHAR',
      's BLOB',
      't JSON',
    ]);
  });

  async function written(format: 'parquet' | 'jsonl', compression: 'zstd' | 'gzip', some = samples) {
    const batch = newBatch('types');
    const settings = {
      kind: 'filesystem',
      name: 'cold',
      position: 'test',
      folder,
      files: { format, compression },
    } as const;
    await using store = await openFilesystemStore(settings, { signal: AbortSignal.timeout(20_000) });
    const { tables } = await archive(store, batch, some);
    return { batch, tables: tables as readonly ManifestTable[] };
  }
});
