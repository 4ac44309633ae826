import type { Value } from '@tableset/common/database/connection.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import { commonError } from '@tableset/common/errors.ts';
import type { Condition } from '../../config/archive-config.ts';
import { isBinaryType, isTextType } from '../values/column-codec.ts';
import { isIntegerType } from '../values/integer.ts';

/** SQL with its placeholders' values. */
export interface SqlPart {
  readonly sql: string;
  readonly values: readonly Value[];
}

/** Joins conditions by AND; TRUE where there are none. */
export function allOf(parts: readonly SqlPart[]): SqlPart {
  if (parts.length === 0) return { sql: 'TRUE', values: [] };
  return { sql: parts.map(({ sql }) => sql).join(' AND '), values: parts.flatMap(({ values }) => values) };
}

/** What makes a condition meaningless for its table, as the end of a sentence; null if nothing does. */
export function conditionFault(condition: Condition, definition: TableDefinition): string | null {
  const column = findColumn(definition, condition.column);
  if (!column) return `names column ${condition.column}, which ${definition.name} has not`;
  const about = `${condition.column} ${condition.operator}`;
  if (condition.operator === 'is null' || condition.operator === 'is not null') {
    return condition.value === undefined ? null : `${about} takes no value`;
  }
  const list = condition.operator === 'in' || condition.operator === 'not in';
  if (list !== Array.isArray(condition.value)) return `${about} takes ${list ? 'a list' : 'one value'}`;
  const values = valuesOf(condition);
  if (values.length === 0) return `${about} takes at least one value`;
  const ordered = /[<>]/.test(condition.operator);
  if (ordered && (column.dataType === 'enum' || column.dataType === 'set'))
    return `${about}: members of ${column.dataType === 'enum' ? 'an ENUM' : 'a SET'} have no order`;
  const misfit = values.find((value) => literalOf(column, value) === null);
  return misfit === undefined
    ? null
    : `${about} ${JSON.stringify(misfit)}: that is no value of a column of type ${column.columnType}`;
}

/**
 * A condition as SQL. It does not hold (it is NULL or false) for a row whose column is NULL, unless it is `is null`. The value is written so that the server compares by
 * the column's own type: a text next to a number would be compared as DOUBLE, and a misspelt one as 0.
 * @param alias of the table, unquoted
 * @throws AppError SETTING_INVALID if it does not fit the table
 */
export function conditionSql(condition: Condition, definition: TableDefinition, alias: string): SqlPart {
  const fault = conditionFault(condition, definition);
  const column = findColumn(definition, condition.column);
  if (fault !== null || !column) throw commonError('SETTING_INVALID', `${definition.name}: the condition ${fault}`);
  const name = `${alias}.${quoteIdentifier(column.name)}`;
  switch (condition.operator) {
    case 'is null':
    case 'is not null':
      return nullTest(column, name, condition.operator === 'is null');
    case 'in':
    case 'not in': {
      const parts = valuesOf(condition).map((value) => literalOf(column, value) ?? nothing);
      const list = parts.map(({ sql }) => sql).join(', ');
      return {
        sql: `${name} ${condition.operator === 'in' ? 'IN' : 'NOT IN'} (${list})`,
        values: parts.flatMap(({ values }) => values),
      };
    }
    case '=':
    case '!=':
    case '<':
    case '<=':
    case '>':
    case '>=': {
      const literal = literalOf(column, valuesOf(condition)[0] ?? '') ?? nothing;
      return {
        sql: `${name} ${condition.operator === '!=' ? '<>' : condition.operator} ${literal.sql}`,
        values: literal.values,
      };
    }
    default:
      throw new RangeError(`no operator ${condition.operator satisfies never}`);
  }
}

const nothing: SqlPart = { sql: 'NULL', values: [] };

/** For a DATE NOT NULL the servers answer IS NULL with zero dates. */
function nullTest(column: ColumnDefinition, name: string, wanted: boolean): SqlPart {
  if (!column.nullable && !column.generated) return { sql: wanted ? 'FALSE' : 'TRUE', values: [] };
  return { sql: `${name} IS ${wanted ? '' : 'NOT '}NULL`, values: [] };
}

/** A column by its name, which servers compare without case. */
export function findColumn(definition: Pick<TableDefinition, 'columns'>, name: string): ColumnDefinition | undefined {
  return definition.columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
}

function valuesOf({ value }: Condition): readonly (string | number | boolean)[] {
  if (value === undefined) return [];
  return typeof value === 'object' ? value : [value];
}

const decimalForm = /^[+-]?\d{1,35}(?:\.\d{1,30})?$/;
const dateForm = /^(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,6})?)?)?$/;

/** A value of the settings as an expression of the column's type; null if it is none. */
function literalOf(column: ColumnDefinition, value: string | number | boolean): SqlPart | null {
  const { dataType } = column;
  const one = (bound: Value, sql = '?'): SqlPart => ({ sql, values: [bound] });
  if (column.json || dataType === 'json') return null;
  const text = typeof value === 'boolean' ? null : String(value);
  if (isIntegerType(dataType) || dataType === 'decimal' || dataType === 'year' || dataType === 'bit') {
    const number = text ?? (value === true ? '1' : '0');
    if (/^[+-]?\d{1,65}$/.test(number)) return one(BigInt(number.replace(/^\+/, '')));
    return decimalForm.test(number) ? one(number, 'CAST(? AS DECIMAL(65,30))') : null;
  }
  if (text === null) return null;
  if (dataType === 'float' || dataType === 'double') {
    return text.trim() !== '' && Number.isFinite(Number(text)) ? one(text, '(? + 0e0)') : null;
  }
  if (dataType === 'date' || dataType === 'datetime' || dataType === 'timestamp')
    return isMoment(text) ? one(text.replace('T', ' ')) : null;
  if (dataType === 'time') return /^-?\d{1,3}:[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?$/.test(text) ? one(text) : null;
  if (dataType === 'enum') return column.members.includes(text) ? one(text) : null;
  if (dataType === 'set') {
    const chosen = text === '' ? [] : text.split(',');
    if (!chosen.every((member) => column.members.includes(member))) return null;
    return one(column.members.filter((member) => chosen.includes(member)).join(','));
  }
  if (isTextType(dataType) || dataType === 'inet4' || dataType === 'inet6') return one(text);
  if (dataType === 'uuid') return /^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(text) ? one(text) : null;
  if (isBinaryType(dataType)) {
    return /^0x(?:[0-9a-f]{2})*$/i.test(text) ? one(Buffer.from(text.slice(2), 'hex')) : null;
  }
  return null;
}

function isMoment(text: string): boolean {
  const [, year, month, day, hour = '0', minute = '0', second = '0'] = dateForm.exec(text) ?? [];
  if (year === undefined || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return false;
  const date = new Date(Date.UTC(2000, 0, 1));
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  return date.getUTCMonth() + 1 === Number(month) && date.getUTCDate() === Number(day);
}
