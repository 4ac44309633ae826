import { createHash } from 'node:crypto';
import { migrationError } from '../../errors.ts';
import type { Statement } from '../split-statements.ts';

/** The tools whose folders are read as they are; `tableset` also stands for a mixture of numbered SQL files and scripts. */
export const migrationFormats = ['tableset', 'golang-migrate', 'flyway', 'dbmate', 'goose', 'knex'] as const;

export type MigrationFormat = (typeof migrationFormats)[number];

/** A file below the migrations folder, as a directory reader gives it. */
export interface FolderEntry {
  /** Path relative to the folder, with `/` between its parts. */
  readonly name: string;
  /** The decoded content; asked for at most once, and only of files that may be migrations. */
  text(): string;
}

export interface Migration {
  /** Unique in the folder and in the ledger: the version, or `R__name` of a repeatable migration. */
  readonly id: string;
  /** The canonical version; undefined for repeatable migrations. */
  readonly version: string | undefined;
  readonly name: string;
  readonly file: string;
  /** `baseline` is Flyway's `B…__name.sql`, which stands for all versions up to its own on an empty database. */
  readonly kind: 'sql' | 'script' | 'repeatable' | 'baseline';
  /** SHA-256 in hex of the content with line endings as `\n` and without a byte-order mark. */
  readonly checksum: string;
  /** The content as it stands, without a byte-order mark. */
  readonly text: string;
  /** Splits the file; empty for a script. @throws AppError for text that cannot be split */
  up(): readonly Statement[];
  /** Splits the part that undoes it; undefined when there is none, or when the file is a script, which has to be asked itself. */
  readonly down: (() => readonly Statement[]) | undefined;
  /** Whether the way down is the marker that there is nothing to undo; a way down without statements is refused otherwise. */
  readonly nothingToUndo: () => boolean;
  /** What the file says of running in a transaction; false where it declines one. */
  readonly transaction: { readonly up: boolean; readonly down: boolean };
}

export interface MigrationFolder {
  readonly format: MigrationFormat;
  /** How the tool orders migrations: knex by the file's name, all others by version. */
  readonly order: 'version' | 'name';
  /** Versioned migrations, in the order in which they run. */
  readonly migrations: readonly Migration[];
  /** Repeatable migrations, in the order of their names. */
  readonly repeatables: readonly Migration[];
  readonly baselines: readonly Migration[];
  /** Files that were not read, with the reason. */
  readonly passedOver: readonly { readonly name: string; readonly reason: string }[];
}

/** The line that stands for statements in a way down that needs none. */
export const nothingToUndoMarker = '-- nothing to undo';

export function saysNothingToUndo(text: string): boolean {
  return /^[ \t]*--[ \t]*nothing to undo[ \t]*\r?$/im.test(text);
}

/** SHA-256 in hex of a migration's content, the same whatever line endings and byte-order mark a checkout gave it. */
export function migrationChecksum(text: string): string {
  const unmarked = withoutMark(text);
  const normalised = unmarked.includes('\r') ? unmarked.replace(/\r\n?/g, '\n') : unmarked;
  return createHash('sha256').update(normalised).digest('hex');
}

export function withoutMark(text: string): string {
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/**
 * Decodes a migration file, which must be UTF-8: a wrong byte would otherwise become `\ufffd` in the data.
 * @throws AppError MIGRATION_ENCODING with the offset of the first byte that is not UTF-8
 */
export function decodeMigration(bytes: Uint8Array, file: string): string {
  const isUtf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  if (isUtf16) throw migrationError('MIGRATION_ENCODING', `${file} is UTF-16`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw migrationError('MIGRATION_ENCODING', `${file} is not UTF-8 at byte ${firstBadByte(bytes)}`, { cause });
  }
}

function firstBadByte(bytes: Uint8Array): number {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let characterStart = 0;
  for (let offset = 0; offset < bytes.length; offset += 1) {
    try {
      if (decoder.decode(bytes.subarray(offset, offset + 1), { stream: true }) !== '') characterStart = offset + 1;
    } catch {
      return characterStart;
    }
  }
  return characterStart;
}
