import type { Connection } from '@tableset/common/database/connection.ts';
import type { QueryColumn } from './query-columns.ts';

export type QueryRow = (string | Buffer | null)[];

const batchRows = 1_000;
const batchBytes = 1024 * 1024;
/** A query may compute for long before its first row, but not be silent for ever. */
const silenceTimeoutMs = 15 * 60_000;

/**
 * Runs a query and gives its rows in batches as they arrive; the connection is paused while a batch waits.
 *
 * mysql2's own stream is not used: it tells of its end also when it was only closed, and of a lost connection not at all, because
 * that goes to the connection if the query has no callback. Here only the query's own end, which follows the server's last packet, ends it.
 */
export async function* streamRows(
  connection: Connection,
  sql: string,
  columns: readonly QueryColumn[],
  signal: AbortSignal,
  timeoutMs: number = silenceTimeoutMs,
): AsyncGenerator<QueryRow[], void, undefined> {
  const { driver } = connection;
  let batch: QueryRow[] = [];
  let bytes = 0;
  let paused = false;
  let ended = false;
  let failure: { readonly error: unknown } | null = null;
  let wake: () => void = () => {};
  const fail = (error: unknown) => {
    failure ??= { error };
    wake();
  };

  signal.throwIfAborted();
  // No cast at all: every value is the bytes that the server sent.
  const query = driver.query({ sql, rowsAsArray: true, typeCast: false });
  query.on('result', (row: unknown) => {
    // What mysql2 gives for rowsAsArray without a cast.
    const values = row as (Buffer | null)[];
    for (const value of values) bytes += value === null ? 1 : value.length;
    batch.push(values.map((value, index) => (value === null || columns[index]?.binary ? value : value.toString())));
    if (!paused && (batch.length >= batchRows || bytes >= batchBytes)) {
      paused = true;
      driver.pause();
    }
    if (paused) wake();
  });
  query.on('error', fail);
  query.on('end', () => {
    ended = true;
    wake();
  });
  driver.on('error', fail);
  const onClose = () =>
    fail(Object.assign(new Error('the connection closed before the last row'), { code: 'PROTOCOL_CONNECTION_LOST' }));
  driver.on('end', onClose);
  const onAbort = () => fail(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      if (!paused && !ended && !failure) await waitFor((resolve) => (wake = resolve), timeoutMs, fail);
      if (failure) throw (failure as { readonly error: unknown }).error;
      const rows = batch;
      batch = [];
      bytes = 0;
      if (rows.length > 0) yield rows;
      if (failure) throw (failure as { readonly error: unknown }).error;
      if (ended && batch.length === 0) return;
      if (paused) {
        paused = false;
        driver.resume();
      }
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    driver.off('error', fail);
    driver.off('end', onClose);
    // What is left of the result would have to be read before the connection could be used again.
    if (!ended) connection.destroy();
  }
}

async function waitFor(
  subscribe: (resolve: () => void) => void,
  timeoutMs: number,
  fail: (error: unknown) => void,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  subscribe(resolve);
  const timer = setTimeout(
    () => fail(Object.assign(new Error(`no row for ${timeoutMs} ms`), { code: 'PROTOCOL_CONNECTION_LOST' })),
    timeoutMs,
  );
  try {
    await promise;
  } finally {
    clearTimeout(timer);
  }
}
