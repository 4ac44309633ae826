import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { loaderError } from '../errors.ts';
import type { BatchClaim, BatchState } from './batch-ledger.ts';

/** How often the row of a batch is asked for while the lost connection still holds it. */
const attemptsMax = 6;
const lockWaitSeconds = 2;

/**
 * Finds out how a batch's transaction ended whose COMMIT was sent and not answered: a new connection to the same primary reads the
 * batch's row FOR UPDATE, which waits for the lost connection's transaction; one that lingers is killed. The token is raised, so that
 * whatever may still come from the lost connection changes nothing.
 * @param lost its connection; it is closed
 * @throws AppError DATABASE_UNREACHABLE and the like; ARCHIVE_BATCH_FENCED if the ledger no longer has the batch.
 */
export async function settleBatch(
  lost: Connection,
  claim: BatchClaim,
  options: { readonly output: Output; readonly signal: AbortSignal },
): Promise<BatchState> {
  const { output, signal } = options;
  lost.destroy();
  await using connection = await connect(lost.settings, { signal, lockWaitSeconds });
  for (let attempt = 1; ; attempt++) {
    try {
      const state = await readAndFence(connection, claim);
      output.event('warn', 'a batch whose commit was not answered was looked up', { batch: claim.id, state });
      return state;
    } catch (error) {
      if (connection.lost) throw error;
      await connection.uninterrupted(() => connection.run('ROLLBACK'));
      const fault = classifyFault(error);
      if (attempt >= attemptsMax || (fault !== 'lock-wait' && fault !== 'deadlock')) throw error;
      await killLingering(connection, lost);
    }
  }
}

async function readAndFence(connection: Connection, claim: BatchClaim): Promise<BatchState> {
  await connection.run('START TRANSACTION');
  const row = await connection.row(
    'SELECT state, CAST(token AS CHAR) AS token FROM tableset_batches WHERE id = ? FOR UPDATE',
    [claim.id],
  );
  if (!row) throw loaderError('ARCHIVE_BATCH_FENCED', `the ledger has no batch ${claim.id} any more`);
  // Another token means that somebody took the batch over: theirs is not touched.
  if (String(row['token']) === claim.token) {
    await connection.run('UPDATE tableset_batches SET token = token + 1 WHERE id = ? AND token = ?', [
      claim.id,
      claim.token,
    ]);
  }
  await connection.run('COMMIT');
  // Only batch-ledger.ts writes states.
  return String(row['state']) as BatchState;
}

/** Kills the lost connection's session if it is still there; after a restart of the server its id may be somebody else's. */
async function killLingering(connection: Connection, lost: Connection): Promise<void> {
  // Not by information_schema: there MySQL fails (3854) as soon as any session's statement has an emoji in it.
  const sessions = await connection.rows('SHOW PROCESSLIST');
  const { user, name } = lost.settings;
  const process = sessions.some((row) => row['Id'] === String(lost.id) && row['db'] === name && row['User'] === user);
  if (!process) return;
  // It may end by itself in between.
  await connection.run(`KILL ${lost.id}`).catch(() => undefined);
}
