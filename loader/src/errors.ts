import { type ErrorCatalogue, errorFactory } from '@tableset/common/errors.ts';
import { exitCodes } from '@tableset/common/exit-codes.ts';

/** Codes that the loader alone ends with; docs/errors.md lists them. */
export const loaderErrors = {
  LOAD_TABLE_MISSING: {
    exit: exitCodes.transient,
    cause: 'The table does not exist (yet), after a bounded wait; the first migration may not have run.',
    remedy: 'Run the migrations first, or correct the name of the table; DB_WAIT_SECONDS sets the wait.',
  },
  LOAD_TABLE_UNSUITABLE: {
    exit: exitCodes.refused,
    cause: 'The table cannot be loaded safely in this mode.',
    remedy: 'Change the table or the mode as the message says.',
  },
  LOAD_KEY_UNSUITABLE: {
    exit: exitCodes.refused,
    cause:
      'The table has no unique key without NULLs over exactly the columns that are to identify rows, or the source does not feed it.',
    remedy: 'Give the table a primary key, or set key to the columns of one of its unique keys.',
  },
  LOAD_FOREIGN_KEY_CYCLE: {
    exit: exitCodes.refused,
    cause: 'Tables of one run refer to each other in a circle, so none can be loaded first.',
    remedy: 'Load the tables of the circle in separate runs, or make one of the references nullable and fill it later.',
  },
  LOAD_PUBLISH_REFUSED: {
    exit: exitCodes.refused,
    cause: 'The publish mode that the setting asks for is not safe for this table now.',
    remedy: 'Leave publish at auto.',
  },
  LOAD_PUBLISH_TOO_LARGE: {
    exit: exitCodes.refused,
    cause: 'One transaction would write more rows than maxPublishRows allows.',
    remedy: 'Raise maxPublishRows if the server and its replicas can take a transaction of that size.',
  },
  LOAD_TABLE_CHANGED: {
    exit: exitCodes.transient,
    cause: 'Something else wrote to the table while it was being published.',
    remedy: 'Run it again; nothing was published.',
  },
  LOAD_TOO_MANY_DELETES: {
    exit: exitCodes.refused,
    cause: 'A mirror load would delete more rows than its guard allows.',
    remedy: 'Look at the source with --dry-run; raise maxDeletes if the deletions are meant.',
  },
  LOAD_REJECTED: {
    exit: exitCodes.refused,
    cause: 'More rows of the source were rejected than maxRejects allows.',
    remedy: 'Mend the rows that the message and tableset_rejects name, or raise maxRejects.',
  },
  LOAD_SOURCE_EMPTY: {
    exit: exitCodes.refused,
    cause: 'The source holds no rows, which more often means a broken export than an empty table.',
    remedy: 'Check the source; set allowEmpty: true if no rows can be right.',
  },
  LOAD_DUPLICATE_KEY: {
    exit: exitCodes.refused,
    cause: 'Two different rows of the source have the same key.',
    remedy: 'Remove one of them; identical rows are no error.',
  },
  LOAD_UNIQUE_CONFLICT: {
    exit: exitCodes.refused,
    cause: 'A row of the source has a value of a further unique key that another row has.',
    remedy: 'Remove the clash from the source or the table; the message names the key and the value.',
  },
  LOAD_FOREIGN_KEY: {
    exit: exitCodes.refused,
    cause: 'A row refers to a row that does not exist, or is still referred to.',
    remedy: 'Load the tables that are referred to in the same run, and check the values that the message names.',
  },
  LOAD_CHECK_FAILED: {
    exit: exitCodes.refused,
    cause: 'A row violates a CHECK constraint of the table.',
    remedy: 'Mend the rows; the message names the constraint.',
  },
  LOAD_COUNTS_DIFFER: {
    exit: exitCodes.refused,
    cause: 'The server did not take as many rows as were sent, so nothing was published.',
    remedy: 'Look for triggers or proxies that change statements; report it if there are none.',
  },
  LOAD_SOURCE_MISSING: {
    exit: exitCodes.usage,
    cause: 'The file does not exist, the pattern matches no file, or the server says 404.',
    remedy: 'Check the path, pattern or address, and that the volume is mounted.',
  },
  LOAD_SOURCE_UNREADABLE: {
    exit: exitCodes.usage,
    cause: 'The source is not a readable regular file: a folder, pipe or device, no permission, or outside its folder.',
    remedy: 'Point the source at a regular file that the process may read.',
  },
  LOAD_SOURCE_REFUSED: {
    exit: exitCodes.usage,
    cause: 'The server refused the request, redirected too often or to plain http, or answered what cannot be used.',
    remedy: 'Check the address and its credentials; the message names what the server said.',
  },
  LOAD_SOURCE_UNREACHABLE: {
    exit: exitCodes.transient,
    cause:
      'The server of the source could not be reached, answered with a fault, or fell silent, beyond the bounded retries.',
    remedy: 'Run it again; check the name, the network policy and the server.',
  },
  LOAD_SOURCE_TRUNCATED: {
    exit: exitCodes.transient,
    cause: 'The transfer ended before its announced end and could not be resumed safely.',
    remedy: 'Run it again; nothing was published.',
  },
  LOAD_SOURCE_LENGTH_UNKNOWN: {
    exit: exitCodes.usage,
    cause: 'The server announces neither a length nor chunks, so a cut transfer would look complete.',
    remedy: 'Give the sha256 or the size of the source, or have the server send Content-Length.',
  },
  LOAD_SOURCE_CHANGED: {
    exit: exitCodes.transient,
    cause: 'The content of the source changed while it was being read, or between two readings of one run.',
    remedy: 'Run it again; replace files by renaming a finished one over the old.',
  },
  LOAD_SOURCE_DIGEST: {
    exit: exitCodes.refused,
    cause: 'The content does not have the sha256 or the size that the configuration gives.',
    remedy: 'Find out which of the two is wrong before you change either.',
  },
  LOAD_SOURCE_CORRUPT: {
    exit: exitCodes.refused,
    cause: 'The compressed data is cut short, damaged, or followed by other bytes.',
    remedy: 'Make the file again; `gzip -t` or `zstd -t` shows the same fault.',
  },
  LOAD_SOURCE_TOO_LARGE: {
    exit: exitCodes.refused,
    cause: 'The content is larger, or grows more when decompressed, than the limits allow.',
    remedy: 'Raise maxDecompressedBytes or maxDecompressionRatio if the source is what it should be.',
  },
  LOAD_QUERY_REFUSED: {
    exit: exitCodes.usage,
    cause:
      'The query of a source is not one SELECT or WITH statement with distinct column names, or its server refused it.',
    remedy: 'Write one reading statement and give every column a name of its own.',
  },
  LOAD_ENCODING: {
    exit: exitCodes.refused,
    cause: 'The text is not UTF-8: another encoding, or bytes that are no characters.',
    remedy:
      'Convert the file to UTF-8 (iconv -f … -t UTF-8); the message names the offset and line of the first such byte.',
  },
  LOAD_FORMAT_MISMATCH: {
    exit: exitCodes.refused,
    cause:
      'The first bytes show another format than the configured one, e.g. compressed data under a plain name or the reverse.',
    remedy: 'Correct the format or the ending of the file name.',
  },
  LOAD_SYNTAX: {
    exit: exitCodes.refused,
    cause:
      'The records cannot be told apart: unclosed quote, text after a closing quote, bare carriage returns, or invalid JSON.',
    remedy: 'Mend the line that the message names, or correct the dialect (delimiter, quote, format).',
  },
  LOAD_RECORD_CUT: {
    exit: exitCodes.refused,
    cause: 'The source ends in the middle of a record, so it is probably cut short.',
    remedy: 'Make or transfer the file again; nothing was published.',
  },
  LOAD_RECORD_TOO_LARGE: {
    exit: exitCodes.refused,
    cause: 'One record is larger than the limit, often because a quote was never closed.',
    remedy: 'Mend the record that the message names, or raise recordBytesMax.',
  },
  LOAD_DIALECT_INVALID: {
    exit: exitCodes.usage,
    cause: 'Delimiter, quote or header of the dialect cannot be used, or do not go with the format.',
    remedy: 'Use one ASCII character each for delimiter and quote, and distinct names for the header.',
  },
  LOAD_HEADER_INVALID: {
    exit: exitCodes.refused,
    cause: 'The header names a field twice or not at all.',
    remedy: 'Mend the header, or give the names as a list in the dialect.',
  },
  LOAD_FIELD_UNKNOWN: {
    exit: exitCodes.refused,
    cause: 'The source has a field that no column of the table takes.',
    remedy: 'Map it to a column, list it under ignore, or set ignoreUnknown.',
  },
  LOAD_FIELD_MISSING: {
    exit: exitCodes.refused,
    cause: 'The source lacks a field that the mapping, the dialect or another file of the same load names.',
    remedy: 'Correct the name; the message gives the nearest one.',
  },
  LOAD_COLUMN_UNFED: {
    exit: exitCodes.refused,
    cause: 'A NOT NULL column without a default is fed by nothing.',
    remedy: 'Map a source field or a constant to it, or give it a default.',
  },
  LOAD_MAPPING_INVALID: {
    exit: exitCodes.usage,
    cause: 'A column mapping names an unknown column, contradicts itself, or has a value that does not fit its column.',
    remedy: 'Correct the mapping that the message names.',
  },
  LOAD_COLUMN_UNSUPPORTED: {
    exit: exitCodes.usage,
    cause: 'The column has a type whose values the loader cannot check, or is generated by the server.',
    remedy: 'Leave the column out with ignore, or load it in another way.',
  },
  ARCHIVE_TABLE_UNSUITABLE: {
    exit: exitCodes.refused,
    cause: 'The table cannot be archived safely as it is.',
    remedy: 'Change the table or the entry under archive as the message says; nothing was copied.',
  },
  ARCHIVE_STORE_UNSUITABLE: {
    exit: exitCodes.refused,
    cause: 'The store could not keep every value of the table, or not durably.',
    remedy: 'Change the store as the message says; nothing was copied.',
  },
  ARCHIVE_DRIFT: {
    exit: exitCodes.refused,
    cause: 'The table has changed since its archive was made, so that the archive no longer fits.',
    remedy: 'Run the statement that the message gives on the store, or set evolve: add-columns.',
  },
  ARCHIVE_VALUE_REFUSED: {
    exit: exitCodes.refused,
    cause: 'A row holds a value that the store could not give back exactly as it is.',
    remedy: 'Mend the row that the message names, or choose another store or format.',
  },
  ARCHIVE_TABLE_CHANGED: {
    exit: exitCodes.transient,
    cause: 'The definition of the table changed while it was being archived; the batch was rolled back.',
    remedy: 'Run it again when the migration is done.',
  },
  ARCHIVE_VERIFY_FAILED: {
    exit: exitCodes.refused,
    cause: 'What the store gives back is not what was put into it.',
    remedy: 'Nothing was deleted on its strength; look at the store, then run verify.',
  },
  ARCHIVE_BATCH_FENCED: {
    exit: exitCodes.transient,
    cause: 'Another run has taken the batch over, so this one changed nothing more.',
    remedy: 'Let the other run finish; run it again afterwards.',
  },
  ARCHIVE_COUNTS_DIFFER: {
    exit: exitCodes.transient,
    cause: 'As many rows as were copied could not be deleted, so the batch was rolled back.',
    remedy: 'Run it again; if it stays, look for triggers or other writers that change these rows.',
  },
  ARCHIVE_TOO_MANY_DELETES: {
    exit: exitCodes.refused,
    cause: 'The run would delete more rows than its budget allows.',
    remedy: 'Look at it with --dry-run; raise limits.maxDeletes if the deletions are meant.',
  },
  ARCHIVE_UNFINISHED: {
    exit: exitCodes.transient,
    cause: 'The run ended at its limit of time, or outside its window, before everything was done.',
    remedy:
      'The next run goes on where this one stopped. If that happens every night give it more time, or a window (limits.window, with its zone) that it is started in.',
  },
  STORE_UNAVAILABLE: {
    exit: exitCodes.transient,
    cause: 'The store does not answer, refuses to write, or has no room left.',
    remedy: 'Mend what the message names, then run it again; nothing was deleted without its copy.',
  },
  RESTORE_NOT_FOUND: {
    exit: exitCodes.refused,
    cause: 'No archived row is what was asked for.',
    remedy: 'Look into loader status for what is archived; purged rows are gone.',
  },
  RESTORE_CONFLICT: {
    exit: exitCodes.refused,
    cause: 'The table holds other rows under keys that are to be restored.',
    remedy: 'Compare the rows that the message names; --overwrite puts the archived ones in their place.',
  },
  HOLD_INVALID: {
    exit: exitCodes.refused,
    cause: 'A row of tableset_holds cannot be understood, so nothing may be deleted on its table.',
    remedy: 'Correct or delete the row that the message names.',
  },
  WEBHOOK_FAILED: {
    exit: exitCodes.done,
    cause: 'A webhook could not be delivered within its attempts; the load itself is done.',
    remedy: 'Check the receiver; the next change is told again, this one is not.',
  },
  WEBHOOK_ADDRESS_REFUSED: {
    exit: exitCodes.usage,
    cause: 'The address is not public, is not https, or could not be resolved, and no allow-list names it.',
    remedy: 'Use a public https address, or have the operator allow the host by name.',
  },
} as const satisfies ErrorCatalogue;

export const loaderError = errorFactory(loaderErrors);
