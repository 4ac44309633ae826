import { isUtf8 } from 'node:buffer';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { cellBytesMax, cellKind } from './cell-kind.ts';
import type { ParquetCodec } from './parquet-codec.ts';
import { decimalCodec, floatCodec, integerCodec } from './parquet-numbers.ts';
import type { PageValues } from './parquet-reader.ts';
import { dateCodec, timestampCodec } from './parquet-times.ts';

/** How a column stands in a Parquet file. JSON is only marked: its cells are text like any other. */
export function parquetCodec(type: string, column?: Pick<ColumnDefinition, 'json' | 'dataType'>): ParquetCodec {
  const kind = cellKind(type);
  switch (kind.kind) {
    case 'integer':
      return integerCodec(kind);
    case 'decimal':
      return kind.precision > 38 ? textCodec('STRING', 'UTF8') : decimalCodec(kind.precision, kind.scale);
    case 'float':
    case 'double':
      return floatCodec(kind.kind === 'float');
    case 'date':
      return dateCodec();
    case 'time':
      return timestampCodec(kind.digits, kind.utc);
    case 'bytes':
      return bytesCodec();
    case 'text': {
      const json = column?.json || column?.dataType === 'json';
      return json ? textCodec('JSON', 'JSON') : textCodec('STRING', 'UTF8');
    }
    default:
      throw new Error(`unknown kind ${String(kind satisfies never)}`);
  }
}

function textCodec(type: 'STRING' | 'JSON', converted: 'UTF8' | 'JSON'): ParquetCodec {
  return {
    element: { type: 'BYTE_ARRAY', converted_type: converted, logical_type: { type } },
    type,
    encode(cell, page) {
      if (cell.length > cellBytesMax || !isUtf8(cell)) return false;
      page.bytes(cell);
      return true;
    },
    print(page, sink) {
      const start = lengthBefore(page);
      sink.copy(page.bytes, start, page.at);
    },
  };
}

function bytesCodec(): ParquetCodec {
  return {
    element: { type: 'BYTE_ARRAY' },
    type: 'BYTE_ARRAY',
    encode(cell, page) {
      if (cell.length > cellBytesMax) return false;
      page.bytes(cell);
      return true;
    },
    print(page, sink) {
      const start = lengthBefore(page);
      sink.binary(page.bytes, start, page.at);
    },
  };
}

/** Goes to the end of a value that has its length before it. @returns where it begins */
function lengthBefore(page: PageValues): number {
  const start = page.at + 4;
  const end = start + page.view.getUint32(page.at, true);
  if (end > page.bytes.length) throw new Error('a value reaches beyond its page');
  page.at = end;
  return start;
}
