import { hash } from 'node:crypto';
import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteString, quoteTable } from '@tableset/common/database/quoting.ts';
import { withoutCounter } from '@tableset/common/database/read-table.ts';
import type { LoadTable } from '../config/load-config.ts';

/** What the ledger keeps of a table's last load. */
export interface TableState {
  readonly sourceHash: string | null;
  readonly settingsHash: string | null;
  readonly definitionHash: string | null;
  readonly createdAt: string | null;
  readonly rowCount: string | null;
  readonly dateColumn: string | null;
  readonly archivedBefore: string | null;
  /** The same as an integer date column has it; null for other columns. */
  readonly archivedBelow: string | null;
}

/** Bump when a load with the same settings and source may end in other rows than before. */
const rulesVersion = 1;

/** Changes with every setting that can change what is loaded. */
export function settingsHash(task: LoadTable): string {
  const { position: _position, ...settings } = task;
  return sha256(JSON.stringify({ rulesVersion, ...settings }));
}

/** The definition as SHOW CREATE TABLE prints it, as a hash. */
export function definitionHash(createStatement: string): string {
  return sha256(createStatement);
}

/** Asks for the ledger's rows of these tables. */
export function statesQuery(tables: readonly string[]): string {
  // Not by their names: the first ledgers had fewer columns, and loading does with them.
  return `SELECT * FROM tableset_tables WHERE table_name IN (${tables.map(quoteString).join(',')})`;
}

type TextRow = Readonly<Record<string, string | Buffer | null>>;

/** What `statesQuery` gave, by table name. */
export function tableStates(rows: readonly TextRow[]): ReadonlyMap<string, TableState> {
  const text = (cell: string | Buffer | null | undefined) =>
    cell === null || cell === undefined ? null : String(cell);
  return new Map(
    rows.map((row) => [
      String(row['table_name']),
      {
        sourceHash: text(row['source_hash']),
        settingsHash: text(row['settings_hash']),
        definitionHash: text(row['definition_hash']),
        createdAt: text(row['created_at']),
        rowCount: text(row['row_count']),
        dateColumn: text(row['date_column']),
        archivedBefore: text(row['archived_before']),
        archivedBelow: text(row['archived_below']),
      },
    ]),
  );
}

/** The ledger's rows of these tables, by table name. */
export async function readTableStates(
  connection: Connection,
  tables: readonly string[],
): Promise<ReadonlyMap<string, TableState>> {
  return tableStates(await connection.rows(statesQuery(tables)));
}

/** Asks what `isAsLoaded` wants to know of a table; the second and third question fail if there is none. */
export function tableQueries(schema: string, table: string): readonly [facts: string, created: string, filled: string] {
  const name = quoteTable(schema, table);
  return [
    `SELECT CREATE_TIME AS created FROM information_schema.TABLES WHERE TABLE_SCHEMA = ${quoteString(schema)} AND TABLE_NAME = ${quoteString(table)}`,
    `SHOW CREATE TABLE ${name}`,
    `SELECT 1 AS taken FROM ${name} LIMIT 1`,
  ];
}

/** True if the answers to `tableQueries` say that the table is the one that was last loaded, defined as it was then, and not empty although rows were loaded. */
export function isAsLoaded(
  state: TableState,
  facts: TextRow | undefined,
  created: TextRow | undefined,
  filled: TextRow | undefined,
): boolean {
  return (
    facts !== undefined &&
    facts['created'] === state.createdAt &&
    definitionHash(withoutCounter(String(created?.['Create Table']))) === state.definitionHash &&
    (filled !== undefined) === (state.rowCount !== '0')
  );
}

/** `isAsLoaded` of a table that may not be there. */
export async function isTableAsLoaded(connection: Connection, table: string, state: TableState): Promise<boolean> {
  const queries = tableQueries(connection.settings.name, table);
  const [facts] = await connection.rows(queries[0]);
  if (facts === undefined) return false;
  const [created] = await connection.rows(queries[1]);
  const [filled] = await connection.rows(queries[2]);
  return isAsLoaded(state, facts, created, filled);
}

export interface LoadedTable {
  readonly table: string;
  readonly source: string;
  readonly sourceHash: string | null;
  readonly settingsHash: string;
  readonly definitionHash: string;
  readonly createdAt: string | null;
  readonly rowCount: number | null;
  readonly runId: string;
}

/** Writes what a table now holds; inside the transaction that publishes it. */
export async function recordTable(connection: Connection, loaded: LoadedTable): Promise<void> {
  await connection.run(
    `INSERT INTO tableset_tables (table_name, loaded_at, checked_at, source, source_hash, settings_hash, definition_hash, created_at, row_count, run_id)
     VALUES (?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?, ?, ?, ?, ?, ?, ?)
     ON DUPLICATE KEY UPDATE loaded_at = VALUES(loaded_at), checked_at = VALUES(checked_at), source = VALUES(source), source_hash = VALUES(source_hash),
       settings_hash = VALUES(settings_hash), definition_hash = VALUES(definition_hash), created_at = VALUES(created_at), row_count = VALUES(row_count), run_id = VALUES(run_id)`,
    [
      loaded.table,
      loaded.source,
      loaded.sourceHash,
      loaded.settingsHash,
      loaded.definitionHash,
      loaded.createdAt,
      loaded.rowCount,
      loaded.runId,
    ],
  );
}

/** SHA-256 as 64 hexadecimal digits. */
export function sha256(text: string): string {
  return hash('sha256', text);
}
