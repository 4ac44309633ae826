import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { MappingType } from '../mapping-types.ts';
import { type BinaryForm, binaryCodec, bitCodec } from './binary.ts';
import type { CodecContext, ValueCodec } from './codec.ts';
import { decimalCodec } from './decimal.ts';
import { floatCodec } from './float.ts';
import { integerCodec, isIntegerType } from './integer.ts';
import { jsonCodec } from './json.ts';
import { enumCodec, setCodec } from './members.ts';
import { inet4Codec, inet6Codec, uuidCodec } from './network.ts';
import { isSpatialType, spatialCodec } from './spatial.ts';
import { dateCodec, dateTimeCodec, timeCodec, timestampCodec, yearCodec } from './temporal.ts';
import { textCodec } from './text.ts';
import { vectorCodec } from './vector.ts';

const textTypes = new Set(['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext']);
const binaryTypes = new Set(['binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob']);

/** True for BINARY, VARBINARY and the BLOB types. */
export function isBinaryType(dataType: string): boolean {
  return binaryTypes.has(dataType);
}

/** True for CHAR, VARCHAR and the TEXT types. */
export function isTextType(dataType: string): boolean {
  return textTypes.has(dataType);
}

/**
 * The codec of a column; null for a type that nothing is known of, which the plan refuses.
 * @param type the mapping's type, which decides how a binary column reads its text
 */
export function columnCodec(
  column: ColumnDefinition,
  context: CodecContext,
  type: MappingType | null = null,
): ValueCodec | null {
  const { dataType } = column;
  if (column.json || dataType === 'json') return jsonCodec(column, context);
  if (isIntegerType(dataType)) return integerCodec(column);
  if (isTextType(dataType)) return textCodec(column);
  if (isBinaryType(dataType)) return binaryCodec(column, binaryForm(type));
  if (isSpatialType(dataType)) return spatialCodec(column);
  switch (dataType) {
    case 'decimal':
      return decimalCodec(column);
    case 'float':
    case 'double':
      return floatCodec(column);
    case 'bit':
      return bitCodec(column);
    case 'date':
      return dateCodec(context);
    case 'datetime':
      return dateTimeCodec(column, context);
    case 'timestamp':
      return timestampCodec(column, context);
    case 'time':
      return timeCodec(column);
    case 'year':
      return yearCodec(context);
    case 'enum':
      return enumCodec(column);
    case 'set':
      return setCodec(column);
    case 'uuid':
      return uuidCodec();
    case 'inet4':
      return inet4Codec();
    case 'inet6':
      return inet6Codec();
    case 'vector':
      return vectorCodec(column, context);
    default:
      return null;
  }
}

function binaryForm(type: MappingType | null): BinaryForm {
  switch (type) {
    case 'binary-hex':
      return 'hex';
    case 'binary-base64':
      return 'base64';
    case 'text':
      return 'text';
    case 'uuid':
      return 'uuid';
    default:
      return 'prefixed-hex';
  }
}
