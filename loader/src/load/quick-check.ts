import { quickQueries } from '@tableset/common/database/quick-query.ts';
import { sqlMode } from '@tableset/common/database/sql-mode.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { LoadTask } from './load-tasks.ts';
import { isAsLoaded, settingsHash, statesQuery, tableQueries, tableStates } from './table-state.ts';
import { sourceHash } from './task-hash.ts';

/** Longer than a server takes that is there; one that is not is waited for by the slow way. */
const quickTimeoutMs = 2_000;

/**
 * The same as `changedTasks`, without the driver.
 * @returns null if it could not be told this way, whatever the reason
 */
export async function quickChangedTasks(
  tasks: readonly LoadTask[],
  database: DatabaseSettings,
  signal: AbortSignal,
): Promise<readonly LoadTask[] | null> {
  const names = tasks.map(({ task }) => task.table);
  const statements = [
    // Both change how tables and times are printed.
    `SET SESSION sql_mode='${sqlMode}', time_zone='+00:00', sql_quote_show_create=1`,
    statesQuery(names),
    ...names.flatMap((table) => tableQueries(database.name, table)),
  ];
  const answers = await quickQueries(database, statements, { timeoutMs: quickTimeoutMs, signal });
  if (answers === null) return null;
  const [, rows = [], ...results] = answers.results;
  const states = tableStates(rows);
  const changed: LoadTask[] = [];
  for (const [index, each] of tasks.entries()) {
    const state = states.get(each.task.table);
    const [facts, created, filled] = results.slice(index * 3, index * 3 + 3);
    const unchanged =
      state !== undefined &&
      state.settingsHash === settingsHash(each.task) &&
      isAsLoaded(state, facts?.[0], created?.[0], filled?.[0]) &&
      state.sourceHash !== null &&
      state.sourceHash === (await sourceHash(each.source, signal));
    if (!unchanged) changed.push(each);
  }
  return changed;
}
