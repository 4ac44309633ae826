import { format } from 'node:util';
import { classifyFault } from '@tableset/common/database/errno.ts';
import { databaseFailure } from '@tableset/common/database/failure.ts';
import type { SchemaLock } from '@tableset/common/database/lock.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { Level, Output } from '@tableset/common/output/output.ts';
import type { Knex } from 'knex';
import { migrationError } from '../errors.ts';
import type { Direction, Journal } from '../journal.ts';
import { knexOver } from './knex-session.ts';
import type { ScriptMigration } from './load-script.ts';

/**
 * Runs one direction of a script migration over the lock's session, as one step of the journal. Within a transaction the mark
 * `started` stays uncommitted until the script's first implicit commit, so that after a kill it tells whether anything lasts.
 * @throws AppError MIGRATION_SCRIPT_FAILED and the database's own
 */
export async function runScript(
  context: { readonly lock: SchemaLock; readonly journal: Journal; readonly output: Output },
  file: string,
  script: ScriptMigration,
  direction: Direction,
): Promise<void> {
  const { lock, journal, output } = context;
  const body = direction === 'up' ? script.up : script.down;
  if (body === null) throw migrationError('MIGRATION_DOWN_MISSING', `${file} exports no function named down`);
  const { connection } = lock;
  const knex = knexOver(connection, output);
  using _ = consoleAside(output, file);
  try {
    if (script.transaction) {
      await knex.transaction(async (transaction: Knex.Transaction) => {
        await journal.markStarted(1, null);
        await body(transaction);
        await journal.markDone(1);
      });
    } else {
      await journal.markStarted(1, null);
      await body(knex);
      await journal.markDone(1);
    }
  } catch (error) {
    if (!connection.lost) await connection.run('ROLLBACK');
    throw scriptFailure(lock, file, direction, error);
  } finally {
    await knex.destroy();
  }
}

function scriptFailure(lock: SchemaLock, file: string, direction: string, error: unknown): AppError {
  if (error instanceof AppError) return error;
  const said = error instanceof Error ? error.message : String(error);
  const options = { cause: error, details: { file } };
  if (classifyFault(error) === 'other') {
    return migrationError('MIGRATION_SCRIPT_FAILED', `${file}: ${direction} failed: ${said}`, options);
  }
  const failure = databaseFailure(error, { settings: lock.connection.settings, statement: `${direction} of ${file}` });
  return failure.code === 'DATABASE_STATEMENT_FAILED'
    ? migrationError('MIGRATION_SCRIPT_FAILED', `${file}: ${direction} failed: ${said}`, options)
    : failure;
}

/** What a script prints becomes events: stdout belongs to the summary. */
function consoleAside(output: Output, file: string): Disposable {
  const { log, info, debug, warn, error } = console;
  const say =
    (level: Level) =>
    (...words: unknown[]) =>
      output.event(level, 'script', { file, text: format(...words) });
  Object.assign(console, {
    log: say('info'),
    info: say('info'),
    debug: say('debug'),
    warn: say('warn'),
    error: say('error'),
  });
  return { [Symbol.dispose]: () => void Object.assign(console, { log, info, debug, warn, error }) };
}
