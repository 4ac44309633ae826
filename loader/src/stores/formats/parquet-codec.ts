import type { SchemaElement } from 'hyparquet';
import type { CellSink } from './cell-sink.ts';
import type { PageBuffer } from './parquet-pages.ts';
import type { PageValues } from './parquet-reader.ts';

/** Reads and writes the cells of one column as values of Parquet. */
export interface ParquetCodec {
  /** Without name and repetition. */
  readonly element: Omit<SchemaElement, 'name' | 'repetition_type'>;
  /** For messages: what the column is in the file. */
  readonly type: string;
  /** Adds a value; false, and nothing added, if `print` would not give back the very same cell. */
  encode(cell: Buffer, page: PageBuffer): boolean;
  /** Puts down the cell of the next value of a page. */
  print(page: PageValues, sink: CellSink): void;
}

export const zero = 0x30;
export const minus = 0x2d;
export const point = 0x2e;

/** The number of digits from start to end; NaN for anything else. */
export function digitsOf(cell: Buffer, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = (cell[at] ?? 0) - zero;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    value = value * 10 + digit;
  }
  return end > start ? value : Number.NaN;
}

const two32 = 2 ** 32;
/** Beyond this a 64-bit integer is no exact number any more. */
const highMax = 2 ** 21;

/** The next 64-bit integer of a page: a number where that is exact, else a bigint. */
export function readInteger(page: PageValues, signed: boolean): number | bigint {
  const { view, at } = page;
  const [low, high] = [view.getUint32(at, true), signed ? view.getInt32(at + 4, true) : view.getUint32(at + 4, true)];
  page.at += 8;
  if (high < highMax && high >= -highMax) return high * two32 + low;
  return signed ? view.getBigInt64(at, true) : view.getBigUint64(at, true);
}
