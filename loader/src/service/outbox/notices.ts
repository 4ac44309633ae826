import type { Fields } from '@tableset/common/output/output.ts';
import type { Notice } from '../../webhooks/notice.ts';
import { targetText } from '../run-rows.ts';
import type { RunRecord, RunTask } from '../run-types.ts';

/** What one run of a verb counted, as its summary or the ledger has it. */
export interface Counted {
  /** Names the run of the verb: the ledger's id, or one of ours where the ledger is elsewhere. */
  readonly runId: string;
  readonly tables: readonly Fields[];
  /** ISO 8601 in UTC. */
  readonly at: string;
}

const events = {
  load: 'table.changed',
  archive: 'table.archived',
  purge: 'table.purged',
  restore: 'table.restored',
  verify: null,
} as const satisfies Record<RunTask, string | null>;

/** Tables of a summary are bounded by the configuration; a ledger's text is not ours alone. */
const tablesMax = 2_000;

/** What is to be told of a run: one notice for each table in which something changed, and none for the others. */
export function noticesOf(run: RunRecord, counted: Counted): readonly Notice[] {
  const event = events[run.task];
  if (event === null) return [];
  return counted.tables.slice(0, tablesMax).flatMap((counts) => {
    const table = counts['table'];
    const change = changeOf(run.task, counts);
    if (typeof table !== 'string' || change.inserted + change.updated + change.deleted === 0) return [];
    const id = `${counted.runId}:${table}`;
    const { runId, at } = counted;
    // The keys of a load are those that the one-shot sends, with the service's own after them.
    const body = { id, event, runId, table, ...change, at, run: run.id, target: targetText(run.target) };
    return [{ id, table, body: Buffer.from(JSON.stringify(body)) }];
  });
}

/** Archived rows are deleted from the table, purged ones from the archive; restored ones come back into the table. */
function changeOf(task: RunTask, counts: Fields): Record<'inserted' | 'updated' | 'deleted', number> {
  const count = (name: string) => {
    const value = counts[name];
    return typeof value === 'number' && Number.isFinite(value) ? value : 0;
  };
  if (task === 'purge') return { inserted: 0, updated: 0, deleted: count('purged') };
  if (task === 'restore') return { inserted: count('restored'), updated: count('overwritten'), deleted: 0 };
  return { inserted: count('inserted'), updated: count('updated'), deleted: count('deleted') };
}
