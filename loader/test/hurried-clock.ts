import { vi } from 'vitest';

/** How many times as fast time passes. */
const factor = 20;

/**
 * Lets the waits of this process that take between `from` and `to` milliseconds pass twenty times as fast, and the clock of deadlines with them, until it is disposed of.
 * Shorter and longer ones, such as those for a connection, keep their length.
 */
export function hurryClock(from: number, to: number): Disposable {
  const setReal = globalThis.setTimeout;
  const now = performance.now.bind(performance);
  const started = now();
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => started + (now() - started) * factor);
  const hurried = (handler: () => void, ms = 0) => setReal(handler, ms >= from && ms <= to ? ms / factor : ms);
  // Nobody here hands arguments on, or asks for the timer as a promise.
  const timers = vi.spyOn(globalThis, 'setTimeout').mockImplementation(hurried as typeof setTimeout);
  return {
    [Symbol.dispose]() {
      timers.mockRestore();
      clock.mockRestore();
    },
  };
}
