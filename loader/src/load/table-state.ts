import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { withoutCounter } from '@tableset/common/database/read-table.ts';
import type { LoadTable } from '../config/load-config.ts';
import { sha256 } from './publish.ts';

/** What the ledger keeps of a table's last load. */
export interface TableState {
  readonly sourceHash: string | null;
  readonly settingsHash: string | null;
  readonly definitionHash: string | null;
  readonly createdAt: string | null;
  readonly rowCount: string | null;
  readonly dateColumn: string | null;
  readonly archivedBefore: string | null;
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

/** The ledger's rows of these tables, by table name. */
export async function readTableStates(
  connection: Connection,
  tables: readonly string[],
): Promise<ReadonlyMap<string, TableState>> {
  const rows = await connection.rows(
    `SELECT table_name, source_hash, settings_hash, definition_hash, created_at, row_count, date_column, archived_before FROM tableset_tables WHERE table_name IN (${tables.map(() => '?').join(',')})`,
    tables,
  );
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
      },
    ]),
  );
}

/** True if the table is the one that was last loaded, defined as it was then, and not empty although rows were loaded. */
export async function isTableAsLoaded(connection: Connection, table: string, state: TableState): Promise<boolean> {
  const schema = connection.settings.name;
  const facts = await connection.row(
    'SELECT CREATE_TIME AS created FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?',
    [schema, table],
  );
  if (!facts || facts['created'] !== state.createdAt) return false;
  const created = await connection.row(`SHOW CREATE TABLE ${quoteTable(schema, table)}`);
  if (definitionHash(withoutCounter(String(created?.['Create Table']))) !== state.definitionHash) return false;
  const filled = await connection.row(`SELECT 1 AS taken FROM ${quoteTable(schema, table)} LIMIT 1`);
  return (filled !== null) === (state.rowCount !== '0');
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
