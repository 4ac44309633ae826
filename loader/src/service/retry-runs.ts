import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import { audit } from './audit.ts';
import type { StateDatabase, Targets } from './contracts.ts';
import { serviceError } from './errors.ts';
import { replayDeliveries } from './outbox/delivery-rows.ts';
import { openRunQueue } from './run-queue.ts';
import { openStateDatabase } from './state-database.ts';

export interface RetryRequest {
  /** Null: every failed run that has not been retried. */
  readonly ids: readonly string[] | null;
  readonly database: DatabaseSettings;
  readonly queueSize: number;
  readonly runAttempts: number;
  readonly signal: AbortSignal;
}

const atOnceMax = 100;

/**
 * Puts runs that have ended into the queue again, as runs of their own; the service finds them there.
 * @throws AppError SERVICE_NOT_FOUND, SERVICE_CONFLICT or SERVICE_QUEUE_FULL; what was queued before stays
 */
export async function retryRuns(
  request: RetryRequest,
): Promise<readonly { readonly run: string; readonly retryOf: string }[]> {
  await using database = openStateDatabase(() => request.database, request.signal);
  const queue = openRunQueue({
    database,
    targets: unusedTargets,
    // The service that does them is another process.
    dispatcher: { closed: false, running: [], prepare: () => {}, queued: () => {}, ended: () => {}, wake: () => {} },
    audit,
    endHooks: [],
    queueSize: request.queueSize,
    runAttempts: request.runAttempts,
  });
  const retried: { run: string; retryOf: string }[] = [];
  for (const id of request.ids ?? (await failedRuns(database))) {
    const result = await queue.retry(id, { name: 'cli', roles: new Set() }, null);
    if (result === null)
      throw serviceError('SERVICE_CONFLICT', `there is no run ${id} that has ended`, {
        hint: 'Look for its number in GET /status; a run that waits or runs is not retried.',
      });
    if (result.outcome !== 'queued')
      throw serviceError('SERVICE_QUEUE_FULL', `run ${id} is not queued: as many runs wait as the queue takes`);
    retried.push({ run: result.run.id, retryOf: id });
  }
  return retried;
}

/** Has the service tell dead letters of webhooks again. @returns how many, and how many are left */
export async function replayDeadLetters(
  settings: DatabaseSettings,
  attemptsMax: number,
  signal: AbortSignal,
): Promise<{ readonly replayed: number; readonly left: number }> {
  await using database = openStateDatabase(() => settings, signal);
  return await database.transaction(async (connection) => {
    const result = await replayDeliveries(connection, {}, attemptsMax);
    const { replayed } = result;
    const entry = { actor: 'cli', action: 'webhook.replay', subject: 'deliveries', details: { replayed } };
    if (replayed > 0) await audit.record(connection, entry);
    return result;
  });
}

/** A retry takes over what the run it repeats was for. */
const unusedTargets: Targets = {
  describe: async () => ({ databaseKey: '', tables: { load: [], archive: [], purge: [], restore: [], verify: [] } }),
  spec: async () => {
    throw new Error('nothing runs here');
  },
  all: async () => [],
};

async function failedRuns(database: StateDatabase): Promise<readonly string[]> {
  const rows = await database.use((connection) =>
    connection.rows(
      `SELECT failed.id AS id FROM tableset_service_runs failed LEFT JOIN tableset_service_runs again ON again.retry_of = failed.id
       WHERE failed.state = 'failed' AND again.id IS NULL ORDER BY failed.id LIMIT ${atOnceMax}`,
    ),
  );
  return rows.map((row) => String(row['id']));
}
