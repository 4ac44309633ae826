import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import { createStage, type LoadTarget, sameValue, stageTable } from '../core/load-sql.ts';

/** What a row that a unique key keeps out is to the rows that are there: the same as the one with its key, different from it, or its key is not there. */
export type Duplicate = 'same' | 'different' | 'other-key';

/**
 * Tells whether a row that a unique key keeps out is the very same as the row that has its key: the row is inserted into a temporary table of its
 * own and compared there, so that both were stored by the same rules.
 */
export function duplicateCheck(connection: Connection, target: LoadTarget, table: string) {
  return async (insert: (table: string) => Promise<void>): Promise<Duplicate> => {
    const one = quoteIdentifier(`tableset_duplicate_${target.ordinal}`);
    await connection.run(`DROP TEMPORARY TABLE IF EXISTS ${one}`);
    await connection.run(createStage(target).replace(stageTable(target), one));
    try {
      await insert(one);
      const same = target.columns.map((column) => sameValue(column, 'o', 't')).join(' AND ');
      const match = target.key.map((name) => `o.${quoteIdentifier(name)} = t.${quoteIdentifier(name)}`).join(' AND ');
      const row = await connection.row(`SELECT (${same}) AS same FROM ${one} o JOIN ${table} t ON ${match}`);
      return row === null ? 'other-key' : row['same'] === '1' ? 'same' : 'different';
    } finally {
      await connection.run(`DROP TEMPORARY TABLE IF EXISTS ${one}`);
    }
  };
}
