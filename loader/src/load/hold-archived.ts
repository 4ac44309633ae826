import type { Connection } from '@tableset/common/database/connection.ts';
import { isMissingTable } from '@tableset/common/database/ledger.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import { archivedKeyTable, holdArchivedKeys, type LoadTarget, listArchivedKeys } from '../core/load-sql.ts';
import type { LoadContext } from './table-load.ts';

/** Batches of a single row, such as that of an entity archived as soon as it was finished: younger than any watermark. */
const singleRows = "table_name = ? AND row_count = 1 AND state IN ('deleted', 'purging', 'purged')";

/** True if single rows were archived from the table, so that it is not enough to compare dates. */
export async function hasArchivedKeys(connection: Connection, definition: TableDefinition): Promise<boolean> {
  const batches = quoteTable(definition.schema, 'tableset_batches');
  try {
    const row = await connection.row(`SELECT 1 AS found FROM ${batches} WHERE ${singleRows} LIMIT 1`, [
      definition.name,
    ]);
    return row !== null;
  } catch (error) {
    // No ledger, so nothing was ever archived.
    if (isMissingTable(error)) return false;
    throw error;
  }
}

/** Marks as held the rows to be inserted that were archived one by one: a refreshed file must not bring them back. */
export async function holdArchived({ connection }: LoadContext, target: LoadTarget): Promise<void> {
  const hold = holdArchivedKeys(target);
  // Without the primary key in the source nobody can tell which rows these are; the server makes new keys then.
  if (hold === null) return;
  const keys = archivedKeyTable(target);
  await connection.run(`DROP TEMPORARY TABLE IF EXISTS ${keys}`);
  await connection.run(`CREATE TEMPORARY TABLE ${keys} (key_hash BINARY(32) NOT NULL PRIMARY KEY) ENGINE=InnoDB`);
  await connection.run(listArchivedKeys(target, singleRows), [target.definition.name]);
  await connection.run(hold);
  await connection.run(`DROP TEMPORARY TABLE ${keys}`);
}
