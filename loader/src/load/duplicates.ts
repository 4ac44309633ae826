import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import { createStage, type LoadTarget, sameValue, stageTable } from '../core/load-sql.ts';

/**
 * Tells whether a row whose key is taken is the very same as the row that has it: the row is inserted into a temporary table of its
 * own and compared there, so that both were stored by the same rules.
 */
export function duplicateCheck(connection: Connection, target: LoadTarget, table: string) {
  return async (insert: (table: string) => Promise<void>): Promise<boolean> => {
    const one = quoteIdentifier(`tableset_duplicate_${target.ordinal}`);
    await connection.run(`DROP TEMPORARY TABLE IF EXISTS ${one}`);
    await connection.run(createStage(target).replace(stageTable(target), one));
    try {
      await insert(one);
      const same = target.columns.map((column) => sameValue(column, 'o', 't')).join(' AND ');
      const match = target.key.map((name) => `o.${quoteIdentifier(name)} = t.${quoteIdentifier(name)}`).join(' AND ');
      return (
        (await connection.row(`SELECT 1 AS same FROM ${one} o JOIN ${table} t ON ${match} WHERE ${same}`)) !== null
      );
    } finally {
      await connection.run(`DROP TEMPORARY TABLE IF EXISTS ${one}`);
    }
  };
}
