import { delay } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { isMissingTable } from '@tableset/common/database/ledger.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { LoadTable } from '../config/load-config.ts';
import { loaderError } from '../errors.ts';
import type { Source } from '../sources/source.ts';
import { isTableAsLoaded, readTableStates, settingsHash, type TableState } from './table-state.ts';

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

export async function sourceHash(source: Source, signal: AbortSignal): Promise<string | null> {
  const { kind, value } = await source.fingerprint(signal);
  return kind === 'none' ? null : `${kind}:${value}`;
}

/** Waits, without the lock that a migration would need, for tables that do not exist yet. */
export async function waitForTables(
  tasks: readonly LoadTask[],
  connection: Connection,
  request: TaskRequest,
): Promise<void> {
  const names = tasks.map(({ task }) => task.table);
  const deadline = Date.now() + request.database.waitSeconds * 1000;
  for (let told = false; ; told = true) {
    const rows = await connection.rows(
      `SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME IN (${names.map(() => '?').join(',')})`,
      [request.database.name, ...names],
    );
    const found = new Set(rows.map((row) => String(row['name']).toLowerCase()));
    const missing = names.filter((name) => !found.has(name.toLowerCase()));
    if (missing.length === 0) return;
    if (Date.now() >= deadline) {
      throw loaderError(
        'LOAD_TABLE_MISSING',
        `schema ${request.database.name} has no table ${missing.join(', ')}${request.database.waitSeconds > 0 ? ` after ${request.database.waitSeconds} s` : ''}`,
      );
    }
    if (!told) request.output.event('info', 'waiting for tables', { missing });
    await delay(500, request.signal);
  }
}
