import type { AppError } from '@tableset/common/errors.ts';
import { loaderError } from '../errors.ts';

/** A row of the table that is in an archived row's way. */
export interface Conflict {
  readonly table: string;
  /** Its key as JSON. */
  readonly key: string;
  /** The unique key that the two share; null for the primary key. */
  readonly index: string | null;
}

const toldMax = 20;

/** RESTORE_CONFLICT that lists the first rows. */
export function conflictError(conflicts: readonly Conflict[], count = conflicts.length): AppError {
  const told = conflicts
    .slice(0, toldMax)
    .map(({ table, key, index }) => `${table} ${key}${index === null ? '' : ` by ${index}`}`);
  const more = count > told.length ? ` and ${count - told.length} more` : '';
  const unique = conflicts.find(({ index }) => index !== null);
  return loaderError(
    'RESTORE_CONFLICT',
    `rows that differ from the archived ones are there already: ${told.join('; ')}${more}`,
    {
      details: { conflicts: conflicts.slice(0, toldMax) },
      ...(unique
        ? {
            hint: `Other rows hold values of ${unique.index}: change or delete them, or restore into another table with --into.`,
          }
        : {}),
    },
  );
}

/** Collects conflicts: all are counted, the first are kept. */
export class ConflictList {
  readonly kept: Conflict[] = [];
  count = 0;
  /** True if one of them is by a further unique key. */
  unique = false;

  add(conflicts: readonly Conflict[]): void {
    this.count += conflicts.length;
    this.unique ||= conflicts.some(({ index }) => index !== null);
    this.kept.push(...conflicts.slice(0, Math.max(0, toldMax - this.kept.length)));
  }

  get error(): AppError {
    return conflictError(this.kept, this.count);
  }
}
