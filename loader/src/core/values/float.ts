import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ByteSink } from '../encoding/byte-sink.ts';
import { hotKinds, type Problem, type ValueCodec } from './codec.ts';

const numberForm = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/**
 * FLOAT and DOUBLE: the text is kept as it is, the nearest value that the type has is what the server stores. Refused: what is
 * not a number (NaN, Infinity), what is beyond the type's range, and what would become 0 without being 0.
 */
export function floatCodec(column: ColumnDefinition): ValueCodec {
  const single = column.dataType === 'float';
  const scale = /\(\d+,(\d+)\)/.exec(column.columnType)?.[1];
  const check = (text: string): Problem | null => {
    if (!numberForm.test(text)) return 'is not a number';
    const value = single ? Math.fround(Number(text)) : Number(text);
    if (!Number.isFinite(value)) return `is out of range for ${column.columnType}`;
    const mantissa = text.split(/[eE]/, 1)[0] ?? '';
    if (value === 0 && /[1-9]/.test(mantissa)) return `is too small for ${column.columnType}, which would store 0`;
    if (column.unsigned && value < 0) return `is out of range for ${column.columnType}`;
    if (scale !== undefined && !fitsScale(text, Number(scale)))
      return `has more than the ${scale} fraction digits of ${column.columnType}`;
    return null;
  };
  const hot = { kind: hotKinds.float, limit: 15, flag: column.unsigned ? 0 : 1, scale: 0 } as const;
  return {
    takesEmpty: false,
    ...(scale === undefined ? { hot } : {}),
    isCanonical: (bytes, start, end) => end - start <= 400 && check(bytes.toString('latin1', start, end)) === null,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      if (end - start > 400) return 'is not a number of at most 400 characters';
      const problem = check(bytes.toString('latin1', start, end));
      if (problem === null) sink.copy(bytes, start, end);
      return problem;
    },
  };
}

/** FLOAT(7,3) rounds to its digits without a word, so a longer fraction must be zeros; exponents are not accepted there. */
function fitsScale(text: string, scale: number): boolean {
  if (/[eE]/.test(text)) return false;
  return /^0*$/.test((text.split('.')[1] ?? '').slice(scale));
}
