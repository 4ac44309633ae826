import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { compileDateFormat } from './date-format.ts';
import { formatType } from './mapping-faults.ts';
import type { ColumnMapping } from './mapping-types.ts';
import type { Problem } from './values/codec.ts';
import { withoutExponent } from './values/decimal.ts';

/** A text for the column's codec, NULL, or why there is none. */
export type Transformed = { readonly text: string } | { readonly isNull: true } | { readonly problem: Problem };

/** Turns a source text into the text that the column's codec checks. */
export type Transform = (text: string) => Transformed;

const trueTexts = ['true', 't', 'yes', 'y', 'on', '1'];
const falseTexts = ['false', 'f', 'no', 'n', 'off', '0'];

/**
 * The transform of a mapping, null if the source text goes to the codec as it is. Types that change nothing about the text
 * (text, json, uuid, binary-*) are the codec's own affair.
 */
export function compileTransform(mapping: ColumnMapping, column: ColumnDefinition): Transform | null {
  const convert = compileType(mapping, column);
  const nulls = new Set(mapping.nullIf ?? []);
  const { trim = false } = mapping;
  if (convert === null && nulls.size === 0 && !trim) return null;
  return (source) => {
    const text = trim ? source.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '') : source;
    if (nulls.has(text)) return { isNull: true };
    return convert === null || text === '' ? { text } : convert(text);
  };
}

function compileType(mapping: ColumnMapping, column: ColumnDefinition): Transform | null {
  // A dateFormat alone is of the type that the column holds.
  const type = mapping.type ?? (mapping.dateFormat === undefined ? undefined : formatType(mapping, column));
  switch (type) {
    case 'integer':
    case 'decimal':
    case 'float':
      return compileNumber(mapping, column, type);
    case 'boolean':
      return compileBoolean(mapping);
    case 'date':
    case 'datetime':
    case 'time':
      return compileTemporal(mapping, column, type);
    default:
      return mapping.multiply !== undefined || mapping.decimal !== undefined
        ? compileNumber(mapping, column, 'decimal')
        : null;
  }
}

function compileNumber(
  mapping: ColumnMapping,
  column: ColumnDefinition,
  type: 'integer' | 'decimal' | 'float',
): Transform {
  const separator = mapping.decimal?.separator ?? '.';
  const thousands = mapping.decimal?.thousands ?? '';
  const grouped = thousands === '' ? null : new RegExp(`^[+-]?\\d{1,3}(${escapePattern(thousands)}\\d{3})+(?!\\d)`);
  const integerTarget = !['decimal', 'float', 'double'].includes(column.dataType);
  return (source) => {
    if (source.length > 500) return { problem: 'is not a number of at most 500 characters' };
    let text = source;
    if (grouped !== null && text.includes(thousands)) {
      if (!grouped.test(text))
        return { problem: `does not have ${JSON.stringify(thousands)} between groups of three digits` };
      const head = grouped.exec(text)?.[0] ?? '';
      text = head.replaceAll(thousands, '') + text.slice(head.length);
    }
    if (separator !== '.') {
      if (text.includes('.')) return { problem: `has a point, the decimal separator is ${JSON.stringify(separator)}` };
      text = text.replace(separator, '.');
    }
    if (type === 'float' && mapping.multiply === undefined) return { text };
    const plain = withoutExponent(
      text
        .replace(/^\+/, '')
        .replace(/^(-?)\./, '$10.')
        .replace(/\.(?=$|[eE])/, ''),
    );
    if (plain === null) return { problem: 'is not a number' };
    const product = mapping.multiply === undefined ? plain : multiplyDecimal(plain, String(mapping.multiply));
    const exact = product.includes('.') ? product.replace(/\.?0+$/, '') : product;
    if ((type === 'integer' || integerTarget) && exact.includes('.'))
      return { problem: `becomes ${exact}, which is not an integer` };
    return { text: exact };
  };
}

/**
 * The exact product of two decimal texts without exponents.
 * @example multiplyDecimal('12.34', '100') // '1234.00'
 */
export function multiplyDecimal(a: string, b: string): string {
  const [left, right] = [a, b].map((text) => {
    const [integer = '', fraction = ''] = text.replace('-', '').split('.');
    return { value: BigInt(integer + fraction), scale: fraction.length };
  }) as [{ value: bigint; scale: number }, { value: bigint; scale: number }]; // two in, two out
  const scale = left.scale + right.scale;
  const digits = (left.value * right.value).toString().padStart(scale + 1, '0');
  const negative = a.startsWith('-') !== b.startsWith('-') && /[1-9]/.test(digits);
  const point = digits.length - scale;
  return `${negative ? '-' : ''}${digits.slice(0, point)}${scale === 0 ? '' : `.${digits.slice(point)}`}`;
}

function compileBoolean(mapping: ColumnMapping): Transform {
  const given = mapping.trueTexts !== undefined || mapping.falseTexts !== undefined;
  const truths = new Set(given ? (mapping.trueTexts ?? []) : trueTexts);
  const lies = new Set(given ? (mapping.falseTexts ?? []) : falseTexts);
  return (source) => {
    const text = given ? source : source.toLowerCase();
    if (truths.has(text)) return { text: '1' };
    return lies.has(text) ? { text: '0' } : { problem: 'is not a boolean' };
  };
}

function compileTemporal(
  mapping: ColumnMapping,
  column: ColumnDefinition,
  type: 'date' | 'datetime' | 'time',
): Transform {
  const read = mapping.dateFormat === undefined ? null : compileDateFormat(mapping.dateFormat, type);
  return (source) => {
    const formatted = read === null ? source : read(source);
    if (formatted === null) return { problem: `does not have the form ${mapping.dateFormat}` };
    if (type === 'date' && (column.dataType === 'datetime' || column.dataType === 'timestamp')) {
      return { text: `${formatted} 00:00:00` };
    }
    if (type === 'datetime' && column.dataType === 'date') {
      const midnight = /^(\d{4}-\d\d-\d\d)[ T]00:00:00(?:\.0+)?$/.exec(formatted)?.[1];
      return midnight === undefined
        ? { problem: 'is not midnight, so that a DATE would lose its time' }
        : { text: midnight };
    }
    return { text: formatted };
  };
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
