/** What a column mapping says of its source text; without one the text must have the target column's own form. */
export const mappingTypes = [
  'text',
  'integer',
  'decimal',
  'float',
  'boolean',
  'date',
  'datetime',
  'time',
  'json',
  'uuid',
  'binary-hex',
  'binary-base64',
] as const;

export type MappingType = (typeof mappingTypes)[number];

/** How numbers are written in the source, for the types integer, decimal and float: `1.234,50` is `{separator: ',', thousands: '.'}`. */
export interface DecimalForm {
  /** One character, `.` by default. */
  readonly separator?: string;
  /** One character that may stand between groups of three digits; none by default. */
  readonly thousands?: string;
}

/** How one target column is fed. Everything is optional: `{}` means the source field of the same name, as it is. */
export interface ColumnMapping {
  /** The source field; the target column's own name by default. Excludes `value`. */
  readonly from?: string;
  /** A constant for every row, null for NULL; a number is written as its shortest decimal text. Excludes every other key. */
  readonly value?: string | number | boolean | null;
  /** The form of the source text. */
  readonly type?: MappingType;
  /** Removes spaces, tabs and line ends at both ends before everything else. */
  readonly trim?: boolean;
  /** Source texts (after trim, compared exactly) that mean NULL. */
  readonly nullIf?: readonly string[];
  /** What an absent or empty text becomes, instead of the format's rule for empty fields. */
  readonly empty?: 'null' | 'text' | 'reject';
  /**
   * The form of dates and times: `YYYY MM DD M D HH H mm ss S…(fraction digits) Z(offset)`, other characters as they are,
   * letters in [brackets]; for the types date, datetime and time, and without a type for columns of such a type. ISO 8601 and the database's own form by default.
   */
  readonly dateFormat?: string;
  /**
   * The IANA zone (`Europe/Berlin`, `UTC`) of the wall clock that this column's text shows. TIMESTAMP columns: local times in this zone are
   * converted to UTC. DATETIME columns: times with an offset are converted to this zone's wall clock, others are kept.
   */
  readonly zone?: string;
  /** Accepts `0000-00-00` and dates with a zero month or day, which are refused otherwise. */
  readonly allowZeroDates?: boolean;
  /** How numbers are written. */
  readonly decimal?: DecimalForm;
  /** An exact decimal factor as text or integer, e.g. 100 turns `12.34` into `1234`; for integer and decimal. */
  readonly multiply?: number | string;
  /** For boolean: the texts of true and false, compared exactly; `true`/`false`, `t`/`f`, `yes`/`no`, `y`/`n`, `on`/`off`, `1`/`0` in any case by default. */
  readonly trueTexts?: readonly string[];
  readonly falseTexts?: readonly string[];
}

/** How source fields meet the table's columns. */
export interface TableMapping {
  /** By target column name. */
  readonly columns?: Readonly<Record<string, ColumnMapping>>;
  /** Source fields that are left out on purpose. */
  readonly ignore?: readonly string[];
  /** Leaves out every source field that no column takes, instead of refusing them by name; never a field that a column would take. */
  readonly ignoreUnknown?: boolean;
}
