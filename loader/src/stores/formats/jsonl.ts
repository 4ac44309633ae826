import { isUtf8 } from 'node:buffer';
import { Readable, type Transform } from 'node:stream';
import { createGunzip, createGzip, createZstdCompress, createZstdDecompress } from 'node:zlib';
import type { ArchivedTable } from '../../core/archive/archive-set.ts';
import type { CanonicalRow, Cell } from '../../core/archive/canonical.ts';
import type { ManifestTable } from '../../core/archive/manifest.ts';
import type { RandomAccessInput } from '../../core/encoded-rows.ts';
import { cellBytesMax, cellKind, doubleText } from './cell-kind.ts';
import { type FileFormat, type FileLabel, valueRefused } from './file-format.ts';
import { hashesOf } from './row-hashes.ts';

const readBytes = 256 << 10;
/** Characters of lines that go to the compressor at once. */
const textMax = 256 << 10;
/** A batch that is read has no more rows, and ends soon after so many bytes of lines. */
const rowsPerBatch = 1000;
const batchBytesMax = 4 << 20;
/** A line of the largest cells of a row, as JSON at its longest. */
const lineBytesMax = 1 << 29;

/**
 * JSON Lines: an object for each row with every column by its name, NULL as null. Integers of up to 32 bits, FLOAT and DOUBLE are numbers; bytes are
 * base64; everything else is a string with the very text of the server, BIGINT, DECIMAL and JSON included, because readers of JSON would
 * round the former and print the latter anew. A number that would not come back digit by digit is a string too.
 */
export function jsonlFormat(compression: 'zstd' | 'gzip'): FileFormat {
  const [ending, compressor, decompressor] =
    compression === 'zstd'
      ? ['.jsonl.zst', createZstdCompress, createZstdDecompress]
      : ['.jsonl.gz', createGzip, createGunzip];
  return {
    ending,
    encode: (label, table, rows) => through(lines(label, table, rows), compressor()),
    decode: (input, table) => decode(through(bytesOf(input), decompressor()), table),
    hashes: (input, table) => hashesOf(decode(through(bytesOf(input), decompressor()), table), table),
  };
}

type Form = 'number' | 'base64' | 'text';

function formOf(type: string): Form {
  const kind = cellKind(type);
  if (kind.kind === 'bytes') return 'base64';
  if (kind.kind === 'float' || kind.kind === 'double') return 'number';
  // Zeros in front, which ZEROFILL prints, are no JSON number; YEAR, the other one of fixed width, has them in 0000 alone.
  return kind.kind === 'integer' && kind.bits <= 32 && (kind.digits === 1 || kind.signed) ? 'number' : 'text';
}

async function* lines(
  label: FileLabel,
  table: ArchivedTable,
  rows: AsyncIterable<readonly CanonicalRow[]>,
): AsyncGenerator<Buffer, void> {
  const forms = table.columns.map((column) => formOf(column.columnType));
  const names = table.columns.map((column, place) => `${place === 0 ? '{' : ','}${JSON.stringify(column.name)}:`);
  let text = '';
  for await (const batch of rows) {
    for (const row of batch) {
      for (let place = 0; place < names.length; place++) {
        const value = valueText(row[place] ?? null, forms[place] ?? 'text');
        if (value === null) throw refused(label, table, row, place);
        text += names[place] + value;
        if (text.length >= textMax) {
          yield Buffer.from(text);
          text = '';
        }
      }
      text += '}\n';
    }
  }
  if (text !== '') yield Buffer.from(text);
}

/** JSON of a cell; null if it cannot be written. */
function valueText(cell: Cell, form: Form): string | null {
  if (cell === null) return 'null';
  if (cell.length > cellBytesMax) return null;
  if (form === 'base64') return `"${cell.toString('base64')}"`;
  if (form === 'number') {
    const text = cell.toString('latin1');
    if (numberForm.test(text) && doubleText(Number(text)) === text) return text;
  }
  return isUtf8(cell) ? JSON.stringify(cell.toString()) : null;
}

const numberForm = /^-?(0|[1-9]\d*)(\.\d+)?(e-?\d+)?$/;

function refused(label: FileLabel, table: ArchivedTable, row: CanonicalRow, place: number) {
  return valueRefused(
    label,
    table,
    row,
    place,
    'is longer than a file takes, or no UTF-8',
    'Mend the value, or choose a store in MySQL or SQLite.',
  );
}

async function* bytesOf(input: RandomAccessInput): AsyncGenerator<Uint8Array, void> {
  for (let start = 0; start < input.byteLength; start += readBytes)
    yield await input.read(start, Math.min(start + readBytes, input.byteLength));
}

/** Bytes through a compressor, or back. An error of either side ends both. */
async function* through(source: AsyncIterable<Uint8Array>, transform: Transform): AsyncGenerator<Uint8Array, void> {
  const readable = Readable.from(source, { objectMode: true });
  readable.on('error', (error) => transform.destroy(error));
  readable.pipe(transform);
  try {
    for await (const chunk of transform) yield chunk as Uint8Array; // a transform of zlib gives nothing else
  } finally {
    readable.destroy();
    transform.destroy();
  }
}

async function* decode(
  bytes: AsyncIterable<Uint8Array>,
  table: ManifestTable,
): AsyncGenerator<readonly CanonicalRow[], void> {
  const columns = table.columns.map((column) => ({ name: column.name, form: formOf(column.type) }));
  let rows: CanonicalRow[] = [];
  let size = 0;
  for await (const line of splitLines(bytes)) {
    rows.push(rowOf(line.toString(), columns));
    size += line.length;
    if (rows.length >= rowsPerBatch || size >= batchBytesMax) {
      yield rows;
      rows = [];
      size = 0;
    }
  }
  if (rows.length > 0) yield rows;
}

function rowOf(line: string, columns: readonly { readonly name: string; readonly form: Form }[]): CanonicalRow {
  const value: unknown = JSON.parse(line);
  if (value === null || typeof value !== 'object') throw new Error('a line is no object');
  if (Object.keys(value).length !== columns.length) throw new Error('a line has other columns than the manifest');
  return columns.map(({ name, form }) => {
    if (!Object.hasOwn(value, name)) throw new Error(`a line lacks the column ${name}`);
    const cell: unknown = (value as Record<string, unknown>)[name]; // an object, as just seen
    if (cell === null) return null;
    if (form === 'number' && typeof cell === 'number') return Buffer.from(doubleText(cell), 'latin1');
    if (typeof cell !== 'string') throw new Error(`the column ${name} has a kind of value that was not written`);
    return Buffer.from(cell, form === 'base64' ? 'base64' : 'utf8');
  });
}

async function* splitLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void> {
  let parts: Buffer[] = [];
  let length = 0;
  for await (const piece of source) {
    const chunk = Buffer.from(piece.buffer, piece.byteOffset, piece.length);
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const rest = chunk.subarray(start, end);
      yield parts.length === 0 ? rest : Buffer.concat([...parts, rest]);
      parts = [];
      length = 0;
      start = end + 1;
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
    length += chunk.length - start;
    if (length > lineBytesMax) throw new Error('a line is longer than any that was written');
  }
  if (parts.length > 0) throw new Error('the last line has no end');
}
