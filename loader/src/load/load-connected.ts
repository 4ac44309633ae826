import { connect } from '@tableset/common/database/connect.ts';
import { acquireLock } from '@tableset/common/database/lock.ts';
import type { Webhooks } from '../webhooks/webhooks.ts';
import { dryRun, loadLocked } from './load-tables.ts';
import { changedTasks, type LoadTask, waitForTables } from './load-tasks.ts';
import { type LoadOutcome, type LoadRequest, untouched } from './run-load.ts';

/**
 * The part of `runLoad` that needs a session.
 * @param changed the tasks to be done, null if it is not known yet which
 */
export async function loadConnected(
  tasks: readonly LoadTask[],
  changed: readonly LoadTask[] | null,
  webhooks: Webhooks | null,
  request: LoadRequest,
): Promise<LoadOutcome> {
  const { output, signal } = request;
  const localInfile = request.tasks.some((task) => task.localInfile !== 'off');
  const onWait = (reason: string) => output.event('info', 'waiting for the database', { reason });
  await using connection = await connect(request.database, { signal, localInfile, onWait });
  const open = changed ?? (await changedTasks(tasks, connection, request));
  if (open.length === 0) return { outcome: 'done', tables: tasks.map(({ task }) => untouched(task.table)) };
  await waitForTables(open, connection, request);
  if (request.dryRun) return await dryRun(open, connection, request);
  const busy = { signal, onWait: (wait: object) => output.event('info', 'waiting for the lock', { ...wait }) };
  await using lock = await acquireLock(connection, request.lock, busy);
  if (!lock) return { outcome: 'skipped', tables: [] };
  // Others may have loaded while this run waited.
  const rest = request.ifChanged ? await changedTasks(open, connection, request) : open;
  const loaded = rest.length === 0 ? [] : await loadLocked(rest, lock, request);
  const changes = loaded.flatMap(({ counts, runId }) =>
    counts.inserted + counts.updated + counts.deleted > 0 ? [{ ...counts, runId, at: new Date().toISOString() }] : [],
  );
  await lock[Symbol.asyncDispose]();
  for (const warning of (await webhooks?.tell(changes, signal)) ?? [])
    output.event('warn', warning.message, { code: warning.code, ...warning.details });
  const byTable = new Map(loaded.map(({ counts }) => [counts.table, counts]));
  return { outcome: 'done', tables: tasks.map(({ task }) => byTable.get(task.table) ?? untouched(task.table)) };
}
