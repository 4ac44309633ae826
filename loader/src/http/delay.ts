import { setTimeout as wait } from 'node:timers/promises';

/** Waits, or throws the signal's reason as soon as it fires. */
export async function delay(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await wait(ms, undefined, { signal });
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}
