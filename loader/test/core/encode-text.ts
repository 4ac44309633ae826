import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { openRows } from '../../src/core/encode-rows.ts';
import type { EncodeOptions, Reject, RowPlan } from '../../src/core/encoded-rows.ts';
import { decodeLoadText } from '../../src/core/encoding/decode-load-text.ts';

const lengths: Readonly<Record<string, number>> = {
  tinytext: 255,
  text: 65_535,
  mediumtext: 16_777_215,
  longtext: 4_294_967_295,
};
const blobs: Readonly<Record<string, number>> = {
  tinyblob: 255,
  blob: 65_535,
  mediumblob: 16_777_215,
  longblob: 4_294_967_295,
};

/** A column as information_schema would describe it, from its declaration: `column('price', 'decimal(10,2) unsigned')`. */
export function column(name: string, type: string, more: Partial<ColumnDefinition> = {}): ColumnDefinition {
  const [, dataType = '', inner = ''] = /^(\w+)(?:\((.*)\))?/.exec(type) ?? [];
  const [first, second] = inner.split(',').map(Number);
  const isText = /^(char|varchar|enum|set)$|text$/.test(dataType);
  const isBinary = /binary$|blob$/.test(dataType);
  const length = lengths[dataType] ?? blobs[dataType] ?? (/char|binary/.test(dataType) ? (first ?? 1) : null);
  const members = /^(enum|set)$/.test(dataType)
    ? [...inner.matchAll(/'((?:[^']|'')*)'/g)].map((match) => (match[1] ?? '').replaceAll("''", "'"))
    : [];
  return {
    name,
    position: 1,
    dataType,
    columnType: type,
    unsigned: type.includes('unsigned'),
    zerofill: type.includes('zerofill'),
    nullable: true,
    hasDefault: true,
    characterMaximumLength: isText || isBinary ? length : null,
    characterOctetLength: isText || isBinary ? length : null,
    numericPrecision: dataType === 'decimal' ? (first ?? 10) : dataType === 'bit' ? (first ?? 1) : null,
    numericScale: dataType === 'decimal' ? (second ?? 0) : null,
    datetimePrecision: /^(datetime|timestamp|time)$/.test(dataType) ? first || 0 : null,
    characterSet: isText ? 'utf8mb4' : null,
    collation: isText ? 'utf8mb4_bin' : null,
    members,
    generated: false,
    autoIncrement: false,
    invisible: false,
    json: dataType === 'json',
    srid: null,
    ...more,
  };
}

export interface Encoded {
  readonly plan: RowPlan | null;
  /** Values of the planned columns as text, null for NULL. */
  readonly rows: readonly (readonly (string | null)[])[];
  readonly lines: readonly number[];
  readonly rejects: readonly Reject[];
  /** The load text of all chunks. */
  readonly loadText: string;
  readonly records: number;
}

export type EncodeSettings = Partial<EncodeOptions> & { readonly columns: readonly ColumnDefinition[] };

/** Splits bytes into pieces of a size. */
export async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Bytes in two pieces, cut at an index. */
export async function* cutAt(bytes: Buffer, index: number): AsyncGenerator<Buffer> {
  yield bytes.subarray(0, index);
  yield bytes.subarray(index);
}

/** Encodes a whole source from memory and decodes it again. */
export async function encode(
  source: string | Buffer,
  settings: EncodeSettings,
  cut: (bytes: Buffer) => AsyncIterable<Buffer> = (bytes) => pieces(bytes, 1 << 20),
): Promise<Encoded> {
  const rejects: Reject[] = [];
  const opened = await openRows(
    { name: 'test', bytes: cut(Buffer.from(source)) },
    { format: 'csv', table: 't', server: 'mysql', onReject: (reject) => rejects.push(reject), ...settings },
  );
  const rows: (string | null)[][] = [];
  const lines: number[] = [];
  let loadText = '';
  for await (const chunk of opened.chunks) {
    for (const row of decodeLoadText(chunk)) {
      rows.push(row.fields.map((field) => (field === null ? null : field.toString())));
      lines.push(row.line);
    }
    loadText += chunk.bytes.toString();
    chunk.release();
  }
  return { plan: opened.plan, rows, lines, rejects, loadText, records: opened.counts.records };
}

/** The canonical text of one value, or the reason why it is refused. The value comes as a JSON string, so that every character can be given. */
export async function encodeValue(
  value: string,
  definition: ColumnDefinition,
  settings: Partial<EncodeOptions> = {},
): Promise<string | { readonly reason: string }> {
  const result = await encode(JSON.stringify({ [definition.name]: value }), {
    format: 'jsonl',
    columns: [definition],
    ...settings,
  });
  const [reject] = result.rejects;
  if (reject !== undefined) return { reason: reject.reason };
  return result.rows[0]?.[0] ?? 'NULL';
}
