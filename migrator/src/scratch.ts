import { randomBytes } from 'node:crypto';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';

/** Name of every schema that is made for a trial and dropped after it; the grants name it as a pattern. */
export const scratchPrefix = 'tableset_scratch_';

/**
 * Runs the work with an empty schema of its own as the default one, foreign keys unchecked, and drops it afterwards.
 * @returns null if the account may not make schemas named `tableset_scratch_…`
 */
export async function inScratchSchema<T>(connection: Connection, work: () => Promise<T>): Promise<T | null> {
  const own = quoteIdentifier(connection.settings.name);
  const scratch = quoteIdentifier(`${scratchPrefix}${randomBytes(6).toString('hex')}`);
  const defaults = await connection.row(
    'SELECT DEFAULT_CHARACTER_SET_NAME AS charset, DEFAULT_COLLATION_NAME AS collation FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?',
    [connection.settings.name],
  );
  try {
    await connection.run(
      `CREATE DATABASE ${scratch} CHARACTER SET ${defaults?.['charset'] ?? 'utf8mb4'} COLLATE ${defaults?.['collation'] ?? 'utf8mb4_bin'}`,
    );
  } catch (error) {
    if (classifyFault(error) === 'grant-missing') return null;
    throw error;
  }
  try {
    await connection.run(`USE ${scratch}`);
    await connection.run('SET SESSION foreign_key_checks=0');
    return await work();
  } finally {
    // What broke the work may have broken the connection too, and its error is the one that counts.
    if (!connection.lost) {
      await connection.run(`USE ${own}`);
      await connection.run('SET SESSION foreign_key_checks=1');
      await connection.run(`DROP DATABASE IF EXISTS ${scratch}`);
    }
  }
}
