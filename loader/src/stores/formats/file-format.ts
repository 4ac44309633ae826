import type { ArchivedTable } from '../../core/archive/archive-set.ts';
import type { CanonicalRow } from '../../core/archive/canonical.ts';
import type { ManifestTable } from '../../core/archive/manifest.ts';
import type { RandomAccessInput } from '../../core/encoded-rows.ts';
import { loaderError } from '../../errors.ts';
import type { StoredHash } from '../store.ts';

/** What a file says of itself. */
export interface FileLabel {
  readonly store: string;
  readonly batch: string;
}

/** How the rows of one table of one batch become a file, and rows again. */
export interface FileFormat {
  /** Ending of its files, with the dot. */
  readonly ending: string;
  /**
   * The file as pieces of bytes, while rows come in.
   * @throws AppError ARCHIVE_VALUE_REFUSED for a value that would not come back as it is
   */
  encode(
    label: FileLabel,
    table: ArchivedTable,
    rows: AsyncIterable<readonly CanonicalRow[]>,
  ): AsyncIterable<Uint8Array>;
  /** The rows of a file; throws plain errors for one that is not as `encode` wrote it. */
  decode(input: RandomAccessInput, table: ManifestTable): AsyncGenerator<readonly CanonicalRow[], void>;
  /** The hashes of the rows that `decode` gives. */
  hashes(input: RandomAccessInput, table: ManifestTable): AsyncGenerator<readonly StoredHash[], void>;
}

/** The error of a value that a format cannot hold. */
export function valueRefused(
  label: FileLabel,
  table: ArchivedTable,
  row: CanonicalRow,
  place: number,
  why: string,
  hint?: string,
) {
  const column = table.columns[place]?.name ?? '';
  const key = table.key.map((name) => {
    const cell = row[table.columns.findIndex((each) => each.name === name)];
    return cell ? shown(cell) : 'NULL';
  });
  return loaderError(
    'ARCHIVE_VALUE_REFUSED',
    `store ${label.store}, batch ${label.batch}: the row of ${table.definition.name} with key [${key.join(', ')}] has a value in ${column} that ${why}`,
    { details: { table: table.definition.name, column, key }, ...(hint === undefined ? {} : { hint }) },
  );
}

/** A key's cell for people: text, bytes as hexadecimal digits. */
function shown(cell: Buffer): string {
  const text = cell.toString();
  const plain = Buffer.from(text).equals(cell) && !/\p{Cc}/u.test(text);
  const whole = plain ? text : `0x${cell.toString('hex')}`;
  return whole.length > 80 ? `${whole.slice(0, 80)}…` : whole;
}
