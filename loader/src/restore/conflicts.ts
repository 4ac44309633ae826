import type { AppError } from '@tableset/common/errors.ts';
import { loaderError } from '../errors.ts';

/** What is in the way of an archived row. */
export interface Conflict {
  readonly table: string;
  /** Key of the row of the table that is in the way; of the archived row where its parent is missing. As JSON. */
  readonly key: string;
  /** The unique key that the two share; null for the primary key. */
  readonly index: string | null;
  /** The table that has not the row which the archived one refers to. */
  readonly parent?: string;
  /** Tables whose rows would be changed with it, were it overwritten. */
  readonly followers?: string;
}

const toldMax = 20;

/** RESTORE_CONFLICT that lists the first rows. */
export function conflictError(conflicts: readonly Conflict[], count = conflicts.length): AppError {
  const told = conflicts.slice(0, toldMax);
  const more = count > told.length ? [`and ${count - told.length} more`] : [];
  const sentences = [
    sentence('rows that differ from the archived ones are there already', told.filter(isDifferent), ({ index }) =>
      index === null ? '' : ` by ${index}`,
    ),
    sentence(
      'rows that archived ones refer to are not there',
      told.filter(({ parent }) => parent !== undefined),
      ({ parent }) => ` to ${parent}`,
    ),
    sentence(
      'the server would change rows of other tables with those that are overwritten',
      told.filter(({ followers }) => followers !== undefined),
      ({ followers }) => ` with ${followers}`,
    ),
    ...more,
  ].filter((each) => each !== '');
  const hint = hintOf(conflicts);
  return loaderError('RESTORE_CONFLICT', sentences.join('; '), {
    details: { conflicts: told },
    ...(hint === null ? {} : { hint }),
  });
}

function isDifferent({ parent, followers }: Conflict): boolean {
  return parent === undefined && followers === undefined;
}

function sentence(what: string, conflicts: readonly Conflict[], more: (conflict: Conflict) => string): string {
  if (conflicts.length === 0) return '';
  return `${what}: ${conflicts.map((conflict) => `${conflict.table} ${conflict.key}${more(conflict)}`).join('; ')}`;
}

function hintOf(conflicts: readonly Conflict[]): string | null {
  const unique = conflicts.find(({ index }) => index !== null);
  if (unique)
    return `Other rows hold values of ${unique.index}: change or delete them, or restore into another table with --into.`;
  if (conflicts.some(({ followers }) => followers !== undefined))
    return 'A foreign key follows the change by ON UPDATE. Change those rows yourself first, or restore into another table with --into.';
  if (conflicts.some(({ parent }) => parent !== undefined))
    return 'Bring back the row that it refers to first, or restore into another table with --into.';
  return null;
}

/** Collects conflicts: all are counted, the first are kept. */
export class ConflictList {
  readonly kept: Conflict[] = [];
  count = 0;
  /** True if one of them stays in the way also where overwriting is allowed. */
  lasting = false;

  add(conflicts: readonly Conflict[]): void {
    this.count += conflicts.length;
    this.lasting ||= conflicts.some((conflict) => conflict.index !== null || !isDifferent(conflict));
    this.kept.push(...conflicts.slice(0, Math.max(0, toldMax - this.kept.length)));
  }

  get error(): AppError {
    return conflictError(this.kept, this.count);
  }
}
