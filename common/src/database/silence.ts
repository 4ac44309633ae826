import type { DatabaseSettings } from '../settings/database.ts';
import { ask, openDriver } from './driver.ts';

/** After this long without an answer, a second connection asks whether the statement still runs. */
const silenceMs = 30_000;

/**
 * Watches one statement. A long ALTER is silent for hours and must not be cut off, while a dead peer is silent for ever: so
 * after a silence a second connection asks whether the server still runs the statement, and only a no, or no answer, ends it.
 */
export function watchSilence(settings: DatabaseSettings, id: number, onDead: (error: Error) => void) {
  let timer: NodeJS.Timeout;
  let ended = false;
  // By a clock that nobody sets: once the other one is set back, no silence would be long enough.
  let last = performance.now();
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {
    // The statement's own promise reports it; this one only must not count as unhandled.
  });
  const end = (error: Error) => {
    onDead(error);
    fail(error);
  };
  const check = async () => {
    if (performance.now() - last < silenceMs) return arm();
    const alive = await connectionLives(settings, id);
    if (ended) return;
    if (alive) {
      last = performance.now();
      return arm();
    }
    const error = Object.assign(
      new Error(`no answer for ${silenceMs / 1000} s and the server no longer runs the statement`),
      { code: 'PROTOCOL_CONNECTION_LOST' },
    );
    end(error);
  };
  const arm = () => {
    timer = setTimeout(() => void check(), silenceMs);
    timer.unref();
  };
  arm();
  return {
    failed,
    /** Breaks the connection. */
    fail: end,
    touch: () => {
      last = performance.now();
    },
    stop: () => {
      ended = true;
      clearTimeout(timer);
    },
  };
}

async function connectionLives(settings: DatabaseSettings, id: number): Promise<boolean> {
  try {
    const driver = await openDriver(settings, { withoutSchema: true });
    try {
      // Not by information_schema: there MySQL fails (3854) as soon as any session's statement has an emoji in it.
      const sessions = await ask(driver, 'SHOW PROCESSLIST');
      return sessions.some((row) => row['Id'] === String(id) && row['Command'] !== 'Sleep');
    } finally {
      driver.destroy();
    }
  } catch {
    // No answer within the connect timeout means that the server, or the way to it, is gone.
    return false;
  }
}

/** Ends what a connection is doing, by way of another connection; never throws. */
export async function killStatement(settings: DatabaseSettings, id: number): Promise<void> {
  try {
    const driver = await openDriver(settings, { withoutSchema: true });
    await ask(driver, `KILL QUERY ${id}`).finally(() => driver.destroy());
  } catch {
    // The statement then ends by itself or with the process; stopping goes on either way.
  }
}
