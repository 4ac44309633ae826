import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { compileDateFormat } from './date-format.ts';
import type { ColumnMapping } from './mapping-types.ts';
import { isZone } from './values/calendar.ts';

/** What is wrong with the mapping of one column. */
export interface MappingFault {
  /** The key to blame, null for the mapping as a whole. */
  readonly key: keyof ColumnMapping | null;
  /** A sentence part: "has the unknown zone …". */
  readonly message: string;
}

type TemporalType = 'date' | 'datetime' | 'time';

const numberTypes = ['integer', 'decimal', 'float'];
const temporalTypes = ['date', 'datetime', 'time'] as const;

/**
 * Checks what a mapping says by itself.
 * @param column the target, null while the table is not known: then everything that some column could mean passes
 */
export function mappingFault(own: ColumnMapping, column: ColumnDefinition | null): MappingFault | null {
  if (own.value !== undefined && Object.keys(own).length > 1)
    return { key: null, message: 'has a value together with other keys' };
  return numberFault(own) ?? booleanFault(own) ?? zoneFault(own, column) ?? dateFormatFault(own, column);
}

function numberFault({ type, multiply, decimal }: ColumnMapping): MappingFault | null {
  if (multiply !== undefined) {
    if (!/^-?\d+(\.\d+)?$/.test(String(multiply)))
      return {
        key: 'multiply',
        message: `has multiply ${JSON.stringify(multiply)}, which is not a plain decimal number`,
      };
    if (type !== undefined && !numberTypes.includes(type))
      return { key: 'multiply', message: `has multiply with the type ${type}` };
  }
  if (decimal === undefined) return null;
  if (type !== undefined && !numberTypes.includes(type))
    return { key: 'decimal', message: `has a decimal form with the type ${type}` };
  for (const character of [decimal.separator, decimal.thousands]) {
    if (character !== undefined && !/^[^\d+-]$/u.test(character))
      return {
        key: 'decimal',
        message: 'has a decimal form whose separators are not one character each, other than digits and signs',
      };
  }
  return (decimal.separator ?? '.') === decimal.thousands
    ? { key: 'decimal', message: 'has one character for both separators' }
    : null;
}

function booleanFault({ type, trueTexts, falseTexts }: ColumnMapping): MappingFault | null {
  const key = trueTexts !== undefined ? 'trueTexts' : 'falseTexts';
  if (trueTexts === undefined && falseTexts === undefined) return null;
  if (type !== 'boolean') return { key, message: 'has trueTexts or falseTexts without the type boolean' };
  const both = trueTexts?.find((text) => falseTexts?.includes(text));
  return both === undefined ? null : { key: 'falseTexts', message: `has ${JSON.stringify(both)} as true and as false` };
}

function zoneFault({ type, zone }: ColumnMapping, column: ColumnDefinition | null): MappingFault | null {
  if (zone === undefined) return null;
  if (!isZone(zone)) return { key: 'zone', message: `has the unknown zone ${JSON.stringify(zone)}` };
  if (type !== undefined && type !== 'text' && type !== 'date' && type !== 'datetime')
    return { key: 'zone', message: `has a zone with the type ${type}` };
  return column === null || column.dataType === 'datetime' || column.dataType === 'timestamp'
    ? null
    : { key: 'zone', message: `has a zone, which means nothing for ${column.columnType}` };
}

function dateFormatFault(own: ColumnMapping, column: ColumnDefinition | null): MappingFault | null {
  const { dateFormat } = own;
  if (dateFormat === undefined) return null;
  const key = 'dateFormat';
  const type = formatType(own, column);
  if (type !== null) {
    const message = formatProblem(dateFormat, type);
    return message === null ? null : { key, message };
  }
  if (own.type !== undefined || column !== null)
    return { key, message: 'has a dateFormat without the type date, datetime or time' };
  const problems = temporalTypes.map((candidate) => formatProblem(dateFormat, candidate));
  const [first] = problems;
  return first && !problems.includes(null) ? { key, message: first } : null;
}

function formatProblem(format: string, type: TemporalType): string | null {
  try {
    compileDateFormat(format, type);
    return null;
  } catch (error) {
    if (error instanceof RangeError) return `is wrong: ${error.message}`;
    throw error;
  }
}

/** What a mapping's dateFormat reads: what its type says, else what the column holds; null if that is no date or time. */
export function formatType({ type }: ColumnMapping, column: ColumnDefinition | null): TemporalType | null {
  const said = type ?? (column?.dataType === 'timestamp' ? 'datetime' : column?.dataType);
  return temporalTypes.find((candidate) => candidate === said) ?? null;
}
