import { AppError } from '@tableset/common/errors.ts';
import { loaderError } from '../errors.ts';
import type {
  BytesInput,
  Dialect,
  EncodeCounts,
  EncodedChunk,
  EncodedRows,
  EncodeOptions,
  RowPlan,
  RowsInput,
} from './encoded-rows.ts';
import { RowEncoder } from './encoding/row-encoder.ts';
import { jsonFields, lateKeyRule, sparseHint } from './json-fields.ts';
import { planRows } from './mapping.ts';
import { ByteWindow } from './records/byte-window.ts';
import { type DelimitedDialect, likelyDelimiter } from './records/delimited-dialect.ts';
import { DelimitedReader } from './records/delimited-reader.ts';
import { JsonReader } from './records/json-reader.ts';
import { type RecordReader, readStates } from './records/record-reader.ts';
import { SNIFF_BYTES, sniffText } from './records/sniff.ts';

const TAB = 0x09;
const RECORD_BYTES_MAX = 16 * 1024 * 1024;
/** Delimiters that no number, date or hexadecimal text contains, so that they can separate load text too. */
const separators = new Set([',', ';', '|', '\t']);

/**
 * Opens a source: reads as far as its fields are known and plans its columns; the rows come from `chunks`.
 * @throws LOAD_ENCODING, LOAD_FORMAT_MISMATCH, LOAD_SYNTAX, LOAD_RECORD_CUT, LOAD_RECORD_TOO_LARGE, LOAD_DIALECT_INVALID and what planRows throws;
 * while iterating also whatever the input or onReject throws
 */
export async function openRows(input: RowsInput, options: EncodeOptions): Promise<EncodedRows> {
  if ('bytes' in input) {
    if (options.format === 'parquet')
      throw loaderError('LOAD_FORMAT_MISMATCH', `${input.name}: Parquet cannot be read as a stream`);
    return openText(input, options);
  }
  if (options.format !== 'parquet')
    throw loaderError('LOAD_FORMAT_MISMATCH', `${input.name}: ${options.format} is read as a stream`);
  const { openParquet } = await import('./records/parquet-rows.ts');
  return openParquet(input, options);
}

/** Feeds a window from a source. */
class Feeder {
  readonly window: ByteWindow;
  readonly counts: EncodeCounts;
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #signal: AbortSignal | undefined;

  constructor(input: BytesInput, options: EncodeOptions, counts: EncodeCounts) {
    this.window = new ByteWindow(input.name, options.recordBytesMax ?? RECORD_BYTES_MAX);
    this.counts = counts;
    this.#pieces = input.bytes[Symbol.asyncIterator]();
    this.#signal = options.signal;
  }

  /** Reads until the window holds at least so many bytes, or the source has ended. */
  async fill(bytes: number): Promise<void> {
    const { window } = this;
    window.checkRecordSize();
    while (!window.ended && window.length < bytes) {
      this.#signal?.throwIfAborted();
      const piece = await this.#pieces.next();
      this.#signal?.throwIfAborted();
      if (piece.done === true) window.finish();
      else {
        this.counts.bytes += piece.value.length;
        window.append(piece.value);
      }
    }
  }

  /** Reads on behind a record that the window does not hold whole. */
  async more(): Promise<void> {
    // A reader that wants more than there is would be asked again for ever.
    if (this.window.ended) throw new Error(`${this.window.name}: a reader went beyond the end of the source`);
    await this.fill(this.window.wanted());
  }

  async close(): Promise<void> {
    await this.#pieces.return?.();
  }
}

async function openText(input: BytesInput, options: EncodeOptions): Promise<EncodedRows> {
  const counts: EncodeCounts = { bytes: 0, records: 0, rejected: 0 };
  const feeder = new Feeder(input, options, counts);
  try {
    await feeder.fill(SNIFF_BYTES);
    const { window } = feeder;
    window.startChecking(sniffText(window.bytes.subarray(0, window.end), input.name, options.format));
    const opened =
      options.format === 'json' || options.format === 'jsonl'
        ? await openJson(feeder, input.name, options)
        : await openDelimited(feeder, input.name, options);
    if (opened === null) {
      await feeder.close();
      return { plan: null, counts, chunks: noChunks(), close: async () => undefined };
    }
    const { reader, plan, delimiter } = opened;
    const encoder = new RowEncoder(reader, plan, input.name, options, counts, delimiter);
    return { plan, counts, chunks: chunksOf(feeder, encoder), close: () => feeder.close() };
  } catch (error) {
    // The first error is the one to tell; one of closing would hide it.
    await feeder.close().catch(() => undefined);
    throw error;
  }
}

async function* chunksOf(feeder: Feeder, encoder: RowEncoder): AsyncGenerator<EncodedChunk, void> {
  try {
    for (;;) {
      const state = encoder.pump();
      if (state === readStates.more) {
        await feeder.more();
        continue;
      }
      const chunk = encoder.writer.take();
      if (chunk !== null) yield chunk;
      if (state === readStates.end) return;
    }
  } finally {
    await feeder.close().catch(() => undefined);
  }
}

async function* noChunks(): AsyncGenerator<EncodedChunk, void> {}

interface Opened {
  readonly reader: RecordReader;
  readonly plan: RowPlan;
  /** Byte between the fields of the source, -1 for formats without. */
  readonly delimiter: number;
}

async function openDelimited(feeder: Feeder, name: string, options: EncodeOptions): Promise<Opened | null> {
  const dialect = delimitedDialect(options);
  const reader = new DelimitedReader(feeder.window, dialect);
  const header = options.dialect?.header ?? true;
  let fields: readonly string[] | null = header === true ? reader.readHeader() : header;
  while (fields === null) {
    await feeder.more();
    fields = reader.readHeader();
  }
  if (fields.length === 0) return null;
  reader.setFields(fields);
  try {
    const plan = planRows(planInput(name, options, fields, dialect.separator));
    return { reader, plan, delimiter: dialect.delimiter };
  } catch (error) {
    throw (header === true && delimiterFault(error, name, fields, dialect)) || error;
  }
}

/** Fields that do not fit the table because the header was cut at the wrong delimiter are told as that; null for other faults. */
function delimiterFault(error: unknown, name: string, fields: readonly string[], dialect: DelimitedDialect) {
  const code = (['LOAD_FIELD_UNKNOWN', 'LOAD_FIELD_MISSING', 'LOAD_COLUMN_UNFED'] as const).find(
    (candidate) => error instanceof AppError && error.code === candidate,
  );
  const likely = likelyDelimiter(fields, dialect.delimiter);
  if (code === undefined || likely === null) return null;
  const format = dialect.kind === 'tsv' ? 'set format: csv' : likely === '\t' ? 'set format: tsv' : null;
  const setting = `csv.delimiter to ${JSON.stringify(likely)}`;
  return loaderError(code, `${name}: its header is one field, ${JSON.stringify(fields[0])}`, {
    hint: format === null ? `set ${setting}` : likely === ',' ? format : `${format}, or ${setting}`,
    cause: error,
  });
}

async function openJson(feeder: Feeder, name: string, options: EncodeOptions): Promise<Opened | null> {
  // The caller has looked at the format.
  const reader = new JsonReader(feeder.window, options.format as 'json' | 'jsonl');
  let keys = reader.readKeys();
  while (keys === null) {
    await feeder.more();
    keys = reader.readKeys();
  }
  const declared = options.dialect?.header;
  if (keys.length === 0 && feeder.window.length === 0) return null;
  const mapping = options.mapping ?? {};
  const fields = jsonFields(keys, Array.isArray(declared) ? declared : [], mapping);
  const plan = planRows({
    ...planInput(name, options, fields, options.separator ?? TAB),
    absentHint: sparseHint,
  });
  reader.setFields(fields, lateKeyRule(options.table, options.columns, mapping));
  markRawFields(reader, plan);
  return { reader, plan, delimiter: -1 };
}

/** The strings of fields that feed JSON columns stay JSON, unless a mapping says that they hold JSON text. */
function markRawFields(reader: JsonReader, plan: RowPlan): void {
  const isRaw = (planned: RowPlan['columns'][number]) =>
    (planned.column.json || planned.column.dataType === 'json') &&
    planned.mapping?.type === undefined &&
    planned.mapping?.nullIf === undefined;
  for (const planned of plan.columns) {
    const sharers = plan.columns.filter((other) => other.field === planned.field);
    if (planned.field >= 0 && sharers.every(isRaw)) reader.setRawField(planned.field);
  }
}

function planInput(source: string, options: EncodeOptions, fields: readonly string[], separator: number) {
  const { table, columns, mapping = {}, targets = null } = options;
  return { source, table, columns, mapping, fields, separator, targets };
}

/** @throws LOAD_DIALECT_INVALID */
function delimitedDialect(options: EncodeOptions): DelimitedDialect {
  const dialect: Dialect = options.dialect ?? {};
  const tsv = options.format === 'tsv';
  const invalid = (reason: string) =>
    loaderError('LOAD_DIALECT_INVALID', `the dialect of ${options.table}'s source has ${reason}`);
  if (tsv && dialect.delimiter !== undefined && dialect.delimiter !== '\t')
    throw invalid('a delimiter, but TSV always has the tab; use csv with that delimiter');
  if (tsv && typeof dialect.quote === 'string')
    throw invalid('a quote, but TSV has none; use csv with the delimiter tab');
  const delimiter = tsv ? '\t' : (dialect.delimiter ?? ',');
  const quote = tsv || dialect.quote === null ? null : (dialect.quote ?? '"');
  for (const [what, character] of [
    ['delimiter', delimiter],
    ['quote', quote],
  ] as const) {
    if (character !== null && !/^[\t\x20-\x7e]$/.test(character))
      throw invalid(`the ${what} ${JSON.stringify(character)}, which is not one ASCII character`);
    if (character === '\\') throw invalid(`a backslash as ${what}`);
  }
  if (delimiter === quote) throw invalid('one character as delimiter and quote');
  if (Array.isArray(dialect.header) && dialect.header.length === 0) throw invalid('an empty header');
  const own = separators.has(delimiter) ? delimiter.charCodeAt(0) : TAB;
  return {
    kind: tsv ? 'tsv' : 'csv',
    delimiter: delimiter.charCodeAt(0),
    quote: quote === null ? -1 : quote.charCodeAt(0),
    separator: options.separator ?? own,
    backslashNull: tsv || dialect.nullText === '\\N',
  };
}
