import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { loaderError } from '../../errors.ts';
import type { EncodeOptions, PlannedColumn } from '../encoded-rows.ts';
import { compileTransform, type Transform } from '../transforms.ts';
import type { CodecContext, HotCheck, ValueCodec } from '../values/codec.ts';
import { columnCodec } from '../values/column-codec.ts';
import { ByteSink } from './byte-sink.ts';

export type EmptyRule = 'null' | 'text' | 'reject';

/** Everything that the encoder needs to know of one target column. */
export interface CompiledColumn {
  readonly planned: PlannedColumn;
  readonly codec: ValueCodec;
  readonly hot: HotCheck | null;
  readonly transform: Transform | null;
  /** Load text of a constant column, null for others. */
  readonly constant: Buffer | null;
  /** What an empty unquoted field becomes. */
  readonly unquotedEmpty: EmptyRule;
  /** What an empty quoted field, or one that is empty after its transform, becomes. */
  readonly quotedEmpty: EmptyRule;
  /** Numbers with exponents are written out before the codec sees them. */
  readonly exactNumber: boolean;
  /** JSON true and false become 1 and 0. */
  readonly takesBoolean: boolean;
  /** Arrays and objects are values of this column. */
  readonly takesJson: boolean;
}

/**
 * Compiles a planned column.
 * @throws LOAD_COLUMN_UNSUPPORTED for a type that nothing is known of, LOAD_MAPPING_INVALID for a constant that does not fit
 */
export function compileColumn(planned: PlannedColumn, options: EncodeOptions, separator: number): CompiledColumn {
  const { column, mapping } = planned;
  const context: CodecContext = {
    server: options.server,
    timestampMax: options.timestampMax ?? '2038',
    allowZeroDates: mapping?.allowZeroDates ?? false,
    zone: mapping?.zone ?? null,
  };
  const codec = columnCodec(column, context, mapping?.type ?? null);
  if (codec === null) {
    throw loaderError(
      'LOAD_COLUMN_UNSUPPORTED',
      `${options.table}.${column.name} has the type ${column.columnType}, which the loader does not know`,
    );
  }
  const transform = mapping === null ? null : compileTransform(mapping, column);
  const constant = mapping?.value === undefined ? null : constantText(planned, codec, options.table, separator);
  return {
    planned,
    codec,
    hot: transform === null ? (codec.hot ?? null) : null,
    transform,
    constant,
    unquotedEmpty: mapping?.empty ?? defaultEmpty(column, codec, options),
    quotedEmpty: mapping?.empty ?? 'text',
    exactNumber: transform === null && !['float', 'double'].includes(column.dataType),
    takesBoolean:
      column.columnType.startsWith('tinyint(1)') || (column.dataType === 'bit' && column.numericPrecision === 1),
    takesJson: column.json || column.dataType === 'json' || mapping?.type === 'json',
  };
}

function defaultEmpty(column: ColumnDefinition, codec: ValueCodec, options: EncodeOptions): EmptyRule {
  const nullText = options.format === 'tsv' ? (options.dialect?.nullText ?? '\\N') : options.dialect?.nullText;
  if (nullText === '' || (nullText === undefined && column.nullable)) return 'null';
  return codec.takesEmpty ? 'text' : 'reject';
}

function constantText(planned: PlannedColumn, codec: ValueCodec, table: string, separator: number): Buffer {
  const { column, mapping } = planned;
  const value = mapping?.value;
  const name = `${table}.${column.name}`;
  if (value === null || value === undefined) {
    if (!column.nullable)
      throw loaderError('LOAD_MAPPING_INVALID', `the mapping of ${name} gives NULL to a NOT NULL column`);
    return Buffer.from('\\N');
  }
  const bytes = Buffer.from(typeof value === 'boolean' ? (value ? '1' : '0') : String(value));
  const sink = new ByteSink(bytes.length * 2 + 64, separator);
  const problem = bytes.length === 0 && !codec.takesEmpty ? 'is empty' : codec.write(bytes, 0, bytes.length, sink);
  if (problem !== null)
    throw loaderError(
      'LOAD_MAPPING_INVALID',
      `the mapping of ${name} gives ${JSON.stringify(value)}, which ${problem}`,
    );
  return Buffer.from(sink.bytes.subarray(0, sink.length));
}
