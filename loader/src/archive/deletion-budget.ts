import { loaderError } from '../errors.ts';

/** How many rows one run may delete, over all its tables. */
export interface DeletionBudget {
  /**
   * Takes rows from it before they are deleted; a negative number gives back those of a transaction that was rolled back.
   * @throws AppError ARCHIVE_TOO_MANY_DELETES if it does not cover them; nothing is taken then.
   */
  spend(rows: number): void;
  /** Null: no limit. */
  readonly remaining: number | null;
}

export interface DeletionLimits {
  readonly rows: number | null;
  readonly percent: number | null;
  /** They are what one of several workers got of the run's. */
  readonly share?: boolean;
}

/**
 * @param maxDeletes of the limits
 * @param totalRows of all the tables that the run deletes from; it is asked for only if there is a limit in percent
 */
export async function openBudget(
  maxDeletes: DeletionLimits,
  totalRows: () => Promise<number>,
): Promise<DeletionBudget> {
  const { rows: byRows, percent } = maxDeletes;
  const tableRows = percent === null ? null : await totalRows();
  const byPercent = tableRows === null || percent === null ? null : Math.floor((tableRows * percent) / 100);
  const limits = [byRows, byPercent].filter((limit) => limit !== null);
  const allowed = limits.length === 0 ? null : Math.min(...limits);
  let spent = 0;
  return {
    spend(rows) {
      if (allowed !== null && rows > 0 && spent + rows > allowed)
        throw tooMany(spent + rows, allowed, maxDeletes, tableRows);
      spent += rows;
    },
    get remaining() {
      return allowed === null ? null : allowed - spent;
    },
  };
}

/** The figures, and of both limits the one that was too strict. */
function tooMany(rows: number, allowed: number, limits: DeletionLimits, tableRows: number | null) {
  const key = limits.share
    ? "this worker's share of limits.maxDeletes"
    : limits.rows === allowed
      ? 'limits.maxDeletes.rows'
      : `limits.maxDeletes.percent: ${limits.percent} % of ${tableRows} rows`;
  return loaderError(
    'ARCHIVE_TOO_MANY_DELETES',
    `the run would delete at least ${rows} rows, children included; ${allowed} are allowed (${key})`,
    { details: { rows, allowed } },
  );
}
