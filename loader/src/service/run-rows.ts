import type { Row } from '@tableset/common/database/driver.ts';
import type { RunOptions, RunRecord, RunTarget } from './run-types.ts';

/** Columns of a run's row, in SQL. BIGINTs are text in every result. */
export const runColumns =
  'id, task, target, database_key, table_names, options, `trigger`, requested_by, idempotency_key, state, attempt, attempts_max, token, owner, worker, lease_until, created_at, not_before, started_at, finished_at, cancel_requested_at, progress, summary, error, log_tail, retry_of';

/** A row as the record that everybody else sees. */
export function runRecord(row: Row): RunRecord {
  const text = (name: string) => row[name]?.toString() ?? null;
  const json = (name: string): unknown => {
    const value = text(name);
    return value === null ? null : JSON.parse(value);
  };
  // Only this module and its SQL write these columns, with what these types say.
  return {
    id: String(row['id']),
    task: text('task') as RunRecord['task'],
    target: targetOf(String(row['target'])),
    databaseKey: String(row['database_key']),
    tables: json('table_names') as RunRecord['tables'],
    options: json('options') as RunOptions,
    trigger: text('trigger') as RunRecord['trigger'],
    requestedBy: String(row['requested_by']),
    idempotencyKey: text('idempotency_key'),
    state: text('state') as RunRecord['state'],
    attempt: Number(row['attempt']),
    attemptsMax: Number(row['attempts_max']),
    token: String(row['token']),
    owner: text('owner'),
    worker: text('worker'),
    createdAt: isoTime(text('created_at')) ?? '',
    notBefore: isoTime(text('not_before')) ?? '',
    startedAt: isoTime(text('started_at')),
    finishedAt: isoTime(text('finished_at')),
    cancelRequestedAt: isoTime(text('cancel_requested_at')),
    progress: json('progress') as RunRecord['progress'],
    summary: json('summary') as RunRecord['summary'],
    error: json('error') as RunRecord['error'],
    logTail: text('log_tail'),
    retryOf: text('retry_of'),
  };
}

/** `2026-03-29 01:00:00.000000` of a UTC column → `2026-03-29T01:00:00.000Z`. */
export function isoTime(cell: string | null): string | null {
  return cell === null ? null : `${cell.slice(0, 23).replace(' ', 'T')}${cell.length > 19 ? '' : '.000'}Z`;
}

/** `file`, or `record:ID`. */
export function targetText(target: RunTarget): string {
  return target.kind === 'file' ? 'file' : `record:${target.id}`;
}

export function targetOf(text: string): RunTarget {
  return text.startsWith('record:') ? { kind: 'record', id: text.slice('record:'.length) } : { kind: 'file' };
}
