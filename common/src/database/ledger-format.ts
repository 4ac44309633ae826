/** Raised when older programs could no longer work with the ledger: they refuse it then. */
export const ledgerFormat = 1;

/**
 * Raised with every table, column or key that is added to the ledger, which is all that a revision may do, so that older programs work on with
 * it; newer ones add what it lacks. A new column of an old table must be one that older programs need not fill.
 */
export const ledgerRevision = 2;

/** The table whose comment says both. */
export const ledgerMark = 'tableset_runs';

/** That comment: `format 1.2`. Programs of the first revision, which wrote none, read the 1. */
export const ledgerComment = `Tableset ledger, format ${ledgerFormat}.${ledgerRevision}`;

export interface LedgerVersion {
  readonly format: number;
  readonly revision: number;
}

/** What a comment like `ledgerComment` says; null if it says nothing. */
export function ledgerVersion(comment: string): LedgerVersion | null {
  const [, format, revision = '1'] = /format (\d+)(?:\.(\d+))?/.exec(comment) ?? [];
  return format === undefined ? null : { format: Number(format), revision: Number(revision) };
}

/** True if a ledger with this comment lacks what this version would add to it. */
export function isLedgerBehind(comment: string): boolean {
  const version = ledgerVersion(comment);
  return version === null || (version.format === ledgerFormat && version.revision < ledgerRevision);
}
