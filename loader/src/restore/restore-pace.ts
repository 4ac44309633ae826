import { openThrottle, type Reason, type Throttle } from '../archive/throttle.ts';
import type { LockedSession } from '../catalogue/archive-run.ts';
import { loaderError } from '../errors.ts';

/**
 * Heeds lag, load and time as a run that archives does, but for the window: somebody waits for these rows. The time counts from the first row that is written: a restore that is
 * run again passes what is back already, and however long that takes it gets on.
 */
export class RestorePace implements AsyncDisposable {
  readonly #throttle: Throttle;
  readonly #maxRuntimeSeconds: number | null;
  #started: number | null = null;

  constructor({ connection, request: { config, output, signal } }: LockedSession) {
    const limits = { ...config.limits, window: null, maxRuntimeSeconds: null };
    this.#throttle = openThrottle({ limits, connection, output, signal });
    this.#maxRuntimeSeconds = config.limits.maxRuntimeSeconds;
  }

  /**
   * Call it before each transaction.
   * @throws AppError ARCHIVE_UNFINISHED at a limit of time, STOPPED
   */
  async beforeTransaction(): Promise<void> {
    const ended = (await this.#throttle.beforeBatch()) ?? this.#timeIsUp();
    if (ended) throw unfinished(ended);
  }

  /** Call it after each. @param rows that it wrote */
  wrote(rows: number): void {
    if (rows > 0) this.#started ??= performance.now();
  }

  #timeIsUp(): Reason | null {
    const maxRuntimeSeconds = this.#maxRuntimeSeconds;
    if (maxRuntimeSeconds === null || this.#started === null) return null;
    if (performance.now() - this.#started < maxRuntimeSeconds * 1000) return null;
    return { reason: 'maxRuntime is over', fields: { maxRuntimeSeconds } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#throttle[Symbol.asyncDispose]();
  }
}

function unfinished({ reason, fields }: Reason) {
  return loaderError('ARCHIVE_UNFINISHED', `the run ended before every row was back: ${reason}`, {
    hint: 'Run the same restore again: it goes on with the rows that are not back yet.',
    details: fields,
  });
}
