/** Tables with every type that a server has, and their rows as the engines read them. */
import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { Flavour, TestSchema } from '../../../test/servers.ts';
import { type CanonicalRow, cellExpression } from '../../src/core/archive/canonical.ts';
import { readCells } from '../../src/stores/mysql-store-cells.ts';
import { archivedTable, settingsOf } from '../archive-two-server-kit.ts';
import { type TypeCase, typeCases } from '../type-values.ts';
import type { Sample } from './contract.ts';

/** A row takes 8 KiB with all its pages, so that the types are spread over several tables. */
const columnsMax = 24;

/** Fills a table for every few types; each of their values stands in one row at least, and the last row is all NULL. */
export async function fillTypes(schema: TestSchema, flavour: Flavour): Promise<readonly string[]> {
  const cases = typeCases(flavour);
  const names: string[] = [];
  for (let from = 0; from < cases.length; from += columnsMax) {
    const some = cases.slice(from, from + columnsMax);
    const name = `types_${names.length}`;
    const columns = some.map(({ type }, index) => `c${index} ${type} NULL`);
    await schema.query(
      `CREATE TABLE ${name} (id INT NOT NULL, tag VARBINARY(4) NOT NULL, ${columns.join(', ')}, PRIMARY KEY (id, tag))`,
    );
    await fill(schema, name, some);
    names.push(name);
  }
  return names;
}

async function fill(schema: TestSchema, name: string, cases: readonly TypeCase[]): Promise<void> {
  const rows = Math.max(...cases.map(({ values }) => values.length)) + 1;
  for (let index = 0; index < rows; index++) {
    const parameters: string[] = [];
    const literals = cases.map(({ values }) => {
      const value = index === rows - 1 ? undefined : values[index % values.length];
      if (value === undefined) return 'NULL';
      if (typeof value !== 'string') return value[1];
      parameters.push(value);
      return '?';
    });
    await schema.query(`INSERT INTO ${name} VALUES (${[index, "X'00FF'", ...literals].join(', ')})`, parameters);
  }
}

export async function openPrimary(schema: Pick<TestSchema, 'environment'>): Promise<Connection> {
  return await connect(settingsOf(schema), { signal: AbortSignal.timeout(60_000) });
}

export async function readSample(connection: Connection, name: string): Promise<Sample> {
  const table = await archivedTable(connection, name);
  const cells = table.columns.map((column) => cellExpression(column));
  const rows: CanonicalRow[] = [];
  const sql = `SELECT ${cells.join(', ')} FROM ${quoteIdentifier(name)} ORDER BY id`;
  for await (const batch of readCells(connection, sql, [], cells.length, AbortSignal.timeout(30_000)))
    rows.push(...batch);
  return { table, rows };
}
