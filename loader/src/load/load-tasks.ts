import { delay } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { isMissingTable } from '@tableset/common/database/ledger.ts';
import type { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import { nearestName } from '@tableset/common/settings/nearest.ts';
import type { LoadTable } from '../config/load-config.ts';
import { loaderError } from '../errors.ts';
import type { Source } from '../sources/source.ts';
import { isTableAsLoaded, readTableStates, settingsHash, type TableState } from './table-state.ts';
import { sourceHash } from './task-hash.ts';

/** One table of the configuration and where its rows come from. */
export interface LoadTask {
  readonly task: LoadTable;
  readonly source: Source;
}

interface TaskRequest {
  readonly database: DatabaseSettings;
  readonly output: Output;
  readonly signal: AbortSignal;
}

/** The tasks whose source, settings, table definition or table are not as the ledger says they were. */
export async function changedTasks(
  tasks: readonly LoadTask[],
  connection: Connection,
  request: TaskRequest,
): Promise<readonly LoadTask[]> {
  let states: ReadonlyMap<string, TableState>;
  try {
    states = await readTableStates(
      connection,
      tasks.map(({ task }) => task.table),
    );
  } catch (error) {
    if (isMissingTable(error)) return tasks;
    throw error;
  }
  const changed: LoadTask[] = [];
  for (const each of tasks) {
    const state = states.get(each.task.table);
    const unchanged =
      state !== undefined &&
      state.settingsHash === settingsHash(each.task) &&
      state.sourceHash !== null &&
      state.sourceHash === (await sourceHash(each.source, request.signal)) &&
      (await isTableAsLoaded(connection, each.task.table, state));
    if (!unchanged) changed.push(each);
  }
  return changed;
}

/** Waits, without the lock that a migration would need, for tables that do not exist yet. */
export async function waitForTables(
  tasks: readonly { readonly task: Pick<LoadTable, 'table'> }[],
  connection: Connection,
  request: TaskRequest,
): Promise<void> {
  const names = tasks.map(({ task }) => task.table);
  const deadline = performance.now() + request.database.waitSeconds * 1000;
  for (let told = false; ; told = true) {
    const rows = await connection.rows(
      `SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME IN (${names.map(() => '?').join(',')})`,
      [request.database.name, ...names],
    );
    const found = new Set(rows.map((row) => String(row['name']).toLowerCase()));
    const missing = names.filter((name) => !found.has(name.toLowerCase()));
    if (missing.length === 0) return;
    if (performance.now() >= deadline) {
      throw await missingTables(missing, connection, request.database);
    }
    if (!told) request.output.event('info', 'waiting for tables', { missing });
    await delay(500, request.signal);
  }
}

async function missingTables(
  missing: readonly string[],
  connection: Connection,
  { name, waitSeconds }: DatabaseSettings,
): Promise<AppError> {
  const rows = await connection.rows(
    'SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?',
    [name],
  );
  const tables = rows.map((row) => String(row['name']));
  const named = missing.map((table) => {
    const near = nearestName(table, tables);
    return near === null ? table : `${table} (did you mean ${near}?)`;
  });
  const waited = waitSeconds > 0 ? ` after ${waitSeconds} s` : '';
  return loaderError('LOAD_TABLE_MISSING', `schema ${name} has no table ${named.join(', ')}${waited}`);
}
