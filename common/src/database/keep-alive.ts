import type { Connection } from './connection.ts';

const heartbeatMs = 20_000;

/**
 * Keeps a session that waits between two statements from being closed by the server: its wait_timeout is short, so that a dead node's locks go soon, and a
 * living one says so.
 */
export function keepAlive(connection: Connection): Disposable {
  const timer = setInterval(() => {
    if (connection.lost) clearInterval(timer);
    else if (!connection.busy) connection.run('DO 1').catch(() => connection.destroy());
  }, heartbeatMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
