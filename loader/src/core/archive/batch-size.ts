/** How fast a size may change from one batch to the next. */
const growthMax = 1.5;
const shrinkMax = 0.25;
/** Below this a batch takes what it takes to begin and to commit, which smaller ones would only multiply. */
const rowsMin = 20;
/** How fast the most that a batch may have goes up again after one was too large for the server, for each batch that was not. */
const ceilingGrowth = 1.02;

export interface BatchSizing {
  /** Rows of the root table, the largest that is ever taken. */
  readonly rowsMax: number;
  /** Seconds that a batch's transaction should take at most. */
  readonly targetSeconds: number;
}

/**
 * The size of the next batch from what the last one took: about the target's time, never more than `rowsMax`, and never changed at
 * once by more than a factor, because a single pause of the server says little.
 * @param size that the last batch was asked for
 * @param rows that it really had
 */
export function nextBatchSize(size: number, rows: number, seconds: number, sizing: BatchSizing): number {
  if (rows <= 0 || seconds <= 0) return size;
  // A last, short batch says nothing of what a full one takes.
  if (rows < size / 2 && seconds <= sizing.targetSeconds) return size;
  const ideal = (rows / seconds) * sizing.targetSeconds;
  const bounded = Math.min(Math.max(ideal, size * shrinkMax), size * growthMax);
  return Math.min(sizing.rowsMax, Math.max(rowsMin, Math.floor(bounded)));
}

/** The size of the batches of a run, from what those before them took. */
export class BatchSizer {
  readonly #sizing: BatchSizing;
  #size: number;
  /** Rows are of about the same length as their neighbours: what was too large once would be so again. */
  #ceiling: number;

  constructor(sizing: BatchSizing) {
    this.#sizing = sizing;
    this.#size = sizing.rowsMax;
    this.#ceiling = sizing.rowsMax;
  }

  /** Rows of the root table that the next batch should have. */
  get size(): number {
    return Math.min(this.#size, Math.floor(this.#ceiling));
  }

  /**
   * @param rows that a batch had
   * @param seconds that its transaction took
   * @param halvedTo where a larger batch was too large for the server: what it was halved to
   */
  add(rows: number, seconds: number, halvedTo: number | null): void {
    this.#size = nextBatchSize(this.size, rows, seconds, this.#sizing);
    if (halvedTo === null) this.#ceiling = Math.min(this.#sizing.rowsMax, this.#ceiling * ceilingGrowth);
    else this.#ceiling = Math.min(this.#ceiling, Math.max(1, halvedTo));
  }
}

/** Half of a batch that was too large for the server's packets; null when it cannot be split. */
export function halved(rows: number): number | null {
  return rows <= 1 ? null : Math.ceil(rows / 2);
}
