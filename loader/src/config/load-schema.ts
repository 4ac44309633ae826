import * as z from 'zod/mini';
import { mappingTypes } from '../core/mapping-types.ts';
import { character, deletionLimit, described, identifier, nonEmpty, whole, word } from './kinds.ts';

const texts = () => z.array(z.string());

/** What holds in mode mirror when the file says nothing of deletions. */
export const defaultMaxDeletes = { percent: 20 } as const;

const columnSchema = z.strictObject({
  from: z.optional(nonEmpty("The source's field; the column's own name by default.")),
  value: z.optional(
    described(
      z.union([z.string(), z.number(), z.boolean(), z.null()]),
      'A constant for every row instead of a field; null is NULL. Quote numbers whose digits matter.',
    ),
  ),
  type: z.optional(word(mappingTypes, "The form of the source text, where it is not the column's own.")),
  trim: z.optional(described(z.boolean(), 'Removes spaces, tabs and line ends at both ends first.')),
  nullIf: z.optional(described(texts(), 'Source texts that mean NULL, compared exactly.')),
  empty: z.optional(
    word(['null', 'text', 'reject'], "What an absent or empty text becomes, instead of the format's own rule."),
  ),
  dateFormat: z.optional(
    nonEmpty(
      'The form of dates and times, such as `DD.MM.YYYY HH:mm`; ISO 8601 by default. Columns that hold no date or time need a type beside it.',
    ),
  ),
  zone: z.optional(nonEmpty("The zone of the wall clock that the column's text shows, such as Europe/Berlin.")),
  allowZeroDates: z.optional(described(z.boolean(), 'Accepts 0000-00-00 and dates with a zero month or day.')),
  decimal: z.optional(
    described(
      z.strictObject({
        separator: z.optional(character('The character before the fraction; `.` by default.')),
        thousands: z.optional(character('The character between groups of three digits; none by default.')),
      }),
      'How numbers are written.',
    ),
  ),
  multiply: z.optional(
    described(z.union([z.number(), nonEmpty('')]), 'An exact decimal factor: 100 turns 12.34 into 1234.'),
  ),
  trueTexts: z.optional(described(texts(), 'For type boolean: the texts that are true.')),
  falseTexts: z.optional(described(texts(), 'For type boolean: the texts that are false.')),
});

const proofKeys = {
  sha256: z.optional(
    described(
      z.string().check(z.regex(/^[0-9a-fA-F]{64}$/)),
      'SHA-256 of the content as it is transferred, 64 hexadecimal digits; anything else is refused.',
    ),
  ),
  sizeBytes: z.optional(
    whole(0, Number.MAX_SAFE_INTEGER, 'Size of the content as it is transferred, in bytes; anything else is refused.'),
  ),
};

const fileSourceSchema = z.strictObject({
  path: nonEmpty('One file, taken literally, relative to the folder of this file.'),
  ...proofKeys,
});

const urlSourceSchema = z.strictObject({
  url: nonEmpty('Address: https://, http:// (a warning is logged) or s3://bucket/key.'),
  ...proofKeys,
  headerFiles: z.optional(
    described(
      z.record(z.string().check(z.regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/)), nonEmpty('File that holds the value.')),
      'Request headers whose values stand in files, such as Authorization. They stay with the origin of the address.',
    ),
  ),
  caFile: z.optional(nonEmpty('PEM file of the authorities to trust for this address.')),
});

const querySourceSchema = z.strictObject({
  query: nonEmpty('One SELECT or WITH statement; its columns are the source fields.'),
  from: nonEmpty('The database to ask, by its name under `databases`.'),
});

const asciiCharacter = () => z.string().check(z.length(1), z.regex(/^[\t -~]$/));

const csvSchema = z.strictObject({
  delimiter: z.optional(
    described(asciiCharacter(), 'The ASCII character between fields; `,` by default. For csv alone: tsv has the tab.'),
  ),
  quote: z.optional(
    described(
      z.nullable(asciiCharacter()),
      'The ASCII character around fields, doubled inside them, or null for a file without quotes; `"` by default. For csv alone: tsv has none.',
    ),
  ),
  nullText: z.optional(
    described(
      z.string(),
      'The unquoted text that means NULL. Without it an empty unquoted field is NULL where the column allows it. tsv always takes `\\N` too.',
    ),
  ),
  header: z.optional(
    described(
      z.union([z.literal(true), z.array(nonEmpty('')).check(z.minLength(1))]),
      'true: the first line names the fields; a list: the file has no such line and these are the names.',
      true,
    ),
  ),
  encoding: z.optional(word(['utf-8'], 'Only UTF-8 is read, with or without a byte order mark.')),
});

/** One table of `load:`. */
export const loadEntrySchema = z.strictObject({
  table: identifier('The table to load.'),
  source: described(
    z.union([nonEmpty(''), fileSourceSchema, urlSourceSchema, querySourceSchema]),
    'Where the rows come from: a path or pattern of files, https://, s3://bucket/key (or a pattern), or an object for one file, an address or a query.',
  ),
  format: z.optional(
    word(
      ['csv', 'tsv', 'jsonl', 'json', 'parquet'],
      'The format; told from the ending by default, before .gz or .zst.',
    ),
  ),
  compression: z._default(
    word(['auto', 'none', 'gzip', 'zstd'], 'auto: gzip for .gz, zstd for .zst, else none.'),
    'auto',
  ),
  csv: z.optional(described(csvSchema, 'How csv and tsv are written.')),
  key: z.optional(
    described(
      z.array(identifier('A column.')).check(z.minLength(1)),
      'The columns that identify a row; the primary key by default.',
    ),
  ),
  mode: z._default(
    word(
      ['upsert', 'insert', 'mirror'],
      'upsert: new rows are inserted, changed ones updated; insert: new keys only; mirror: rows that the source no longer has are deleted too.',
    ),
    'upsert',
  ),
  columns: z._default(
    described(
      z.record(identifier('A column.'), z.union([nonEmpty(''), columnSchema])),
      'How columns are fed, by column; a text is short for {from: text}. Columns that are not listed take the field of their own name; from JSON only if the first record has it.',
    ),
    {},
  ),
  ignore: z._default(described(z.array(nonEmpty('A field.')), 'Source fields that are left out on purpose.'), []),
  ignoreUnknown: z._default(
    described(z.boolean(), 'Leaves out every source field that no column would take, instead of refusing it by name.'),
    false,
  ),
  maxRejects: z._default(
    whole(0, Number.MAX_SAFE_INTEGER, 'How many rows may be rejected before nothing of the table is published.'),
    0,
  ),
  maxDeletes: deletionLimit(
    "the table's",
    'Guards of mode mirror: a run that would delete more publishes nothing. Both hold where both are given.',
    defaultMaxDeletes,
  ),
  allowEmpty: z._default(
    described(
      z.boolean(),
      'Accepts a source without rows, which is refused otherwise; in mode mirror the guards still hold.',
    ),
    false,
  ),
  publish: z._default(
    word(
      ['auto', 'delta', 'swap', 'direct'],
      'How rows get into the table; auto takes the fastest that is safe here, the others are refused where they are not.',
    ),
    'auto',
  ),
  maxPublishRows: z._default(
    whole(
      1,
      Number.MAX_SAFE_INTEGER,
      'Most rows that one publishing transaction may write; more are refused before it starts.',
    ),
    5_000_000,
  ),
  localInfile: z._default(
    word(
      ['auto', 'on', 'off'],
      'Whether LOAD DATA LOCAL INFILE is used: where the server allows it, always, or never.',
    ),
    'auto',
  ),
  maxRecordBytes: z._default(
    whole(
      1024,
      1024 ** 3,
      'Most bytes of one record of the source; a longer one ends the run before it fills the memory.',
    ),
    16 * 1024 ** 2,
  ),
  maxDecompressedBytes: z._default(
    whole(1, Number.MAX_SAFE_INTEGER, 'Most bytes that one compressed file may grow to.'),
    64 * 1024 ** 3,
  ),
  maxDecompressionRatio: z._default(
    whole(1, 1_000_000, 'Most times its compressed size that a file may grow to; checked from 256 MiB on.'),
    1000,
  ),
});

export type LoadEntryFile = z.output<typeof loadEntrySchema>;
