import { type ErrorCatalogue, errorFactory } from '@tableset/common/errors.ts';
import { exitCodes } from '@tableset/common/exit-codes.ts';

/** Codes that the migrator ends with, beside the common ones. */
export const migrationErrors = {
  MIGRATION_NONE_FOUND: {
    exit: exitCodes.usage,
    cause: 'The migrations folder holds no migration, which is usually a wrong path or a missing mount.',
    remedy: 'Point MIGRATIONS_DIR at the folder that holds the migration files.',
  },
  MIGRATION_ENCODING: {
    exit: exitCodes.refused,
    cause: 'A migration file is not valid UTF-8.',
    remedy: 'Save the file as UTF-8; the message gives the offset of the first byte that is not.',
  },
  MIGRATION_NAME_UNREADABLE: {
    exit: exitCodes.refused,
    cause:
      'A file in the migrations folder looks like a migration, but its name has no version in the form of the folder.',
    remedy: 'Rename it as the message shows, or move it out of the migrations folder.',
  },
  MIGRATION_VERSION_INVALID: {
    exit: exitCodes.usage,
    cause: 'A version is not made of digits, optionally separated by dots.',
    remedy: 'Give a version as `status` prints it.',
  },
  MIGRATION_DUPLICATE: {
    exit: exitCodes.refused,
    cause: 'Two migration files have the same version (leading zeros do not count).',
    remedy: 'Give one of the two files that the message names another version.',
  },
  MIGRATION_FORMAT_MIXED: {
    exit: exitCodes.refused,
    cause: 'The folder holds files of several migration tools, or files that two tools would order differently.',
    remedy: 'Keep one format in the folder, or choose one with MIGRATIONS_FORMAT.',
  },
  MIGRATION_SECTION_INVALID: {
    exit: exitCodes.refused,
    cause: 'The up and down markers of a migration file are missing, repeated, unknown or in the wrong order.',
    remedy: 'Mend the marker on the line that the message names.',
  },
  MIGRATION_PLACEHOLDER: {
    exit: exitCodes.refused,
    cause: 'A migration contains a placeholder for which no value was given.',
    remedy:
      'Give the placeholder a value with --placeholder NAME=VALUE (MIGRATIONS_PLACEHOLDERS), or write the value into the file.',
  },
  MIGRATION_UNSUPPORTED: {
    exit: exitCodes.refused,
    cause:
      'A migration uses a feature of another tool that is not carried out here, so that skipping it would go unnoticed.',
    remedy: 'Rewrite the migration that the message names as SQL or TypeScript.',
  },
  MIGRATION_SQL_UNTERMINATED: {
    exit: exitCodes.refused,
    cause: 'A string, quoted name, comment or BEGIN block of a migration is never closed.',
    remedy: 'Close it; the message gives the line where it opens.',
  },
  MIGRATION_DELIMITER_INVALID: {
    exit: exitCodes.refused,
    cause: 'A DELIMITER line gives no delimiter, or one with a backslash in it.',
    remedy: 'Write DELIMITER, a space and the delimiter, for example DELIMITER $$.',
  },
  MIGRATION_CLIENT_COMMAND: {
    exit: exitCodes.refused,
    cause: 'A migration contains a command of the mysql client (source, system, …) that no server understands.',
    remedy: 'Replace the command by the statements that it stands for.',
  },
  MIGRATION_EDITED: {
    exit: exitCodes.refused,
    cause: 'A migration file was edited after it was applied.',
    remedy:
      'Restore the file as it was applied and put the change into a new migration, or accept it as it stands with `migrator resolve V --as applied`.',
  },
  MIGRATION_OUT_OF_ORDER: {
    exit: exitCodes.refused,
    cause: 'A migration that was never applied is older than one that was.',
    remedy: 'Give it a version newer than every applied one, or allow it with --out-of-order.',
  },
  MIGRATION_MISSING: {
    exit: exitCodes.refused,
    cause: 'The database has an applied migration whose file is gone, although newer files are there.',
    remedy: 'Put the file that the message names back into the folder.',
  },
  MIGRATION_AHEAD: {
    exit: exitCodes.refused,
    cause: 'The database has migrations newer than any file of this image, and MIGRATIONS_AHEAD is fail.',
    remedy: 'Deploy the newer image again, or set MIGRATIONS_AHEAD=warn.',
  },
  MIGRATION_UNFINISHED: {
    exit: exitCodes.refused,
    cause: 'A migration was begun and not finished, and it cannot be told for certain how far it came.',
    remedy:
      'Look at the statement that the message names, then run `migrator resolve V --as applied`, `rolled-back` or `retry`.',
  },
  MIGRATION_STATEMENT_FAILED: {
    exit: exitCodes.refused,
    cause: 'The server refused a statement of a migration for a reason that a retry does not change.',
    remedy:
      'Mend the statement that the message names and run `migrator up` again, which goes on there; the statements before it stay as they are.',
  },
  MIGRATION_BLOCKED: {
    exit: exitCodes.transient,
    cause: 'Another session held the locks that a statement needs, for longer than the bounded retries.',
    remedy: 'Let the session that the message names finish or end it, then run again; the statement had no effect.',
  },
  MIGRATION_OVER_BUDGET: {
    exit: exitCodes.refused,
    cause: 'An ALTER TABLE would copy a table of more rows than MIGRATIONS_DDL_BUDGET_ROWS.',
    remedy:
      'Run it in a maintenance window with a higher MIGRATIONS_DDL_BUDGET_ROWS, or write it so that the server can do it in place.',
  },
  MIGRATION_SCRIPT_FAILED: {
    exit: exitCodes.refused,
    cause: 'A TypeScript or JavaScript migration cannot be loaded, exports no up function, or threw.',
    remedy:
      'Mend the script; the message repeats what it said, and the hint says what the next `up` needs if part of it may have stayed.',
  },
  MIGRATION_TARGET_UNKNOWN: {
    exit: exitCodes.usage,
    cause:
      'The version that was given is not among the migrations, for `down` not among the applied ones, or for `resolve` needs no resolving.',
    remedy: 'Give a version that `status` lists; `up` to an older version than the present one has nothing to do.',
  },
  MIGRATION_DOWN_MISSING: {
    exit: exitCodes.refused,
    cause: 'A migration on the way down has no down part, or one without statements.',
    remedy:
      'Write the down part, or the line `-- nothing to undo` as all of it, or undo the change by a new migration.',
  },
  MIGRATION_HISTORY_EXISTS: {
    exit: exitCodes.refused,
    cause: 'The schema already has a history of migrations, which baseline and adopt only start.',
    remedy: 'See `migrator status`; to accept a single migration as it stands, use `migrator resolve V --as applied`.',
  },
  MIGRATION_ADOPT_NO_TABLE: {
    exit: exitCodes.refused,
    cause: "The other tool's history table is not in the schema, or does not have the columns that the tool gives it.",
    remedy: 'Name the table with --table, and check DB_NAME.',
  },
  MIGRATION_ADOPT_DIRTY: {
    exit: exitCodes.refused,
    cause: 'The other tool recorded a failed or unfinished migration.',
    remedy: 'Finish or undo that migration, clear the mark with the other tool, and adopt again.',
  },
  MIGRATION_ADOPT_NO_FILE: {
    exit: exitCodes.refused,
    cause: 'The other tool recorded a migration for which the folder has no file.',
    remedy: 'Put the file back, or point MIGRATIONS_DIR at the folder that the other tool used.',
  },
  MIGRATION_ADOPT_CHECKSUM: {
    exit: exitCodes.refused,
    cause: 'A file differs from the checksum that the other tool recorded when it applied it.',
    remedy:
      'Restore the file as it was applied, or accept the change with the other tool (flyway repair), and adopt again.',
  },
} as const satisfies ErrorCatalogue;

/** Makes an error of the migrator's catalogue: `throw migrationError('MIGRATION_EDITED', message, {hint})`. */
export const migrationError = errorFactory(migrationErrors);
