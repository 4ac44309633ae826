import type { ByteSink } from '../encoding/byte-sink.ts';

/** Why a value is refused: the end of a sentence that begins with the value. */
export type Problem = string;

/**
 * Checks and writes the values of one column. The bytes given are the value itself, valid UTF-8, without quotes or escapes.
 * A codec keeps no state between values.
 */
export interface ValueCodec {
  /** How the hot loop may check this column's fields without a call; see hot-checks.ts. */
  readonly hot?: HotCheck;
  /** True for types whose empty text is a value of its own. */
  readonly takesEmpty: boolean;
  /** True only if the value is valid and its bytes are already its canonical text (escapes aside). */
  isCanonical(bytes: Buffer, start: number, end: number): boolean;
  /** Writes the canonical text, escaped; or writes nothing and says why the value is refused. */
  write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null;
}

/** Checks that the hot loop inlines; what they do not accept goes to the codec. */
export const hotKinds = {
  none: 0,
  text: 1,
  textAscii: 2,
  integer: 3,
  decimal: 4,
  datetime: 5,
  date: 6,
  float: 7,
} as const;

export interface HotCheck {
  readonly kind: (typeof hotKinds)[keyof typeof hotKinds];
  /** text: bytes at most; integer: digits at most; decimal: integer digits at most; float: bytes at most; dates: first year. */
  readonly limit: number;
  /** text: 1 if a trailing space is not accepted; numbers: 1 if a minus is accepted; datetime: fraction digits. */
  readonly flag: number;
  /** decimal: fraction digits, exactly; dates: last year. */
  readonly scale: number;
}

/** What codecs need to know beyond the column. */
export interface CodecContext {
  readonly server: 'mysql' | 'mariadb';
  readonly timestampMax: '2038' | '2106';
  readonly allowZeroDates: boolean;
  /** The IANA zone of local times; null if none was given. */
  readonly zone: string | null;
}
