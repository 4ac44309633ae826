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

/**
 * @param maxDeletes of the limits
 * @param totalRows of all the tables that the run deletes from; it is asked for only if there is a limit in percent
 */
export async function openBudget(
  maxDeletes: { readonly rows: number | null; readonly percent: number | null },
  totalRows: () => Promise<number>,
): Promise<DeletionBudget> {
  const byPercent = maxDeletes.percent === null ? null : Math.floor(((await totalRows()) * maxDeletes.percent) / 100);
  const limits = [maxDeletes.rows, byPercent].filter((limit) => limit !== null);
  const allowed = limits.length === 0 ? null : Math.min(...limits);
  let spent = 0;
  return {
    spend(rows) {
      if (allowed !== null && rows > 0 && spent + rows > allowed) throw tooMany(spent + rows, allowed, maxDeletes);
      spent += rows;
    },
    get remaining() {
      return allowed === null ? null : allowed - spent;
    },
  };
}

function tooMany(rows: number, allowed: number, { percent }: { readonly percent: number | null }) {
  const share = percent === null ? '' : ` (limits.maxDeletes.percent is ${percent})`;
  return loaderError(
    'ARCHIVE_TOO_MANY_DELETES',
    `the run would delete at least ${rows} rows; its budget allows for ${allowed}${share}`,
    { details: { rows, allowed } },
  );
}
