import { hash } from 'node:crypto';
import type { Connection, Row } from '@tableset/common/database/connection.ts';
import { isMissingTable } from '@tableset/common/database/ledger.ts';
import { quoteString, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { ArchiveTask } from '../config/archive-config.ts';
import { cellExpression, isBinaryColumn } from '../core/archive/canonical.ts';
import { conditionFault, findColumn } from '../core/archive/conditions.ts';
import { isKey, keyCell } from '../core/archive/key-columns.ts';
import { parsePredicate } from '../core/archive/retention.ts';
import { type Hold, keyText } from '../core/archive/selection.ts';
import { primaryKey } from '../core/archive/table-set.ts';
import { isTextType } from '../core/values/column-codec.ts';
import { isIntegerType } from '../core/values/integer.ts';
import { loaderError } from '../errors.ts';

export type { Hold } from '../core/archive/selection.ts';

/**
 * The holds on a table that are in force by the primary's clock: all predicates, and of the keys one alone, since they may be as many as
 * rows were restored; a selection looks them up where they are. What people wrote is checked, each row of it.
 * @returns none where there is no ledger yet
 * @throws AppError HOLD_INVALID
 */
export async function readHolds(connection: Connection, definition: TableDefinition): Promise<readonly Hold[]> {
  const from = `SELECT CAST(id AS CHAR) AS id, key_hash, key_text, predicate, until, reason
    FROM ${quoteTable(definition.schema, 'tableset_holds')}
    WHERE table_name = ${quoteString(definition.name)} AND (until IS NULL OR until > UTC_TIMESTAMP(6))`;
  const key = primaryKey(definition).flatMap((name) => findColumn(definition, name) ?? []);
  const holds: Hold[] = [];
  // Only the server knows how it prints what these columns call equal.
  const uncertain = !key.every(isCertain);
  const written: WrittenKey[] = [];
  let keyHold: Hold | null = null;
  let invalid: { readonly id: string; readonly fault: string } | null = null;
  try {
    await checkHeldNames(connection, [definition.name], null);
    // What a restore wrote has its run; those many rows need no second look.
    await connection.eachRow(`${from} AND (run_id IS NULL OR key_hash IS NULL)`, (row) => {
      const parsed = parseHold(row, definition, key);
      if (typeof parsed === 'string') invalid ??= { id: String(row['id']), fault: parsed };
      else if ('key' in parsed) {
        keyHold ??= parsed;
        if (uncertain) written.push({ id: parsed.id, cells: parsed.key });
      } else holds.push(parsed);
    });
    const restored = await connection.row(`${from} AND run_id IS NOT NULL AND key_hash IS NOT NULL LIMIT 1`);
    if (restored) {
      const parsed = parseHold(restored, definition, key);
      if (typeof parsed === 'string') invalid ??= { id: String(restored['id']), fault: parsed };
      else keyHold ??= parsed;
    }
  } catch (error) {
    if (isMissingTable(error)) return [];
    throw error;
  }
  // The callback above is what sets it.
  const found =
    (invalid as { readonly id: string; readonly fault: string } | null) ??
    (await findMiswritten(connection, definition, key, written));
  if (found) {
    throw loaderError('HOLD_INVALID', `hold ${found.id} on ${definition.name}: ${found.fault}`, {
      details: { table: definition.name, hold: found.id },
    });
  }
  return keyHold === null ? holds : [...holds, keyHold];
}

/** A row of `tableset_holds`, or what is wrong with it. */
function parseHold(row: Row, definition: TableDefinition, key: readonly ColumnDefinition[]): Hold | string {
  const text = (name: string) => (row[name] === null || row[name] === undefined ? null : String(row[name]));
  const common = { id: String(row['id']), until: text('until'), reason: text('reason') ?? '', table: definition.name };
  const [written, predicate] = [text('key_text'), text('predicate')];
  const keyHash = row['key_hash'];
  if (predicate !== null) {
    if (written !== null || keyHash) return 'it has both a key and a predicate';
    const conditions = parsePredicate(predicate);
    if (conditions === null) return 'its predicate is no JSON list of {column, operator, value}';
    for (const condition of conditions) {
      const fault = conditionFault(condition, definition);
      if (fault !== null) return `its predicate ${fault}`;
    }
    return { ...common, predicate: conditions };
  }
  const cells = heldKey(row);
  if (typeof cells === 'string') return cells;
  if (cells.length !== key.length)
    return `its key_text has ${cells.length} cells for the key (${key.map(({ name }) => name).join(', ')})`;
  const misfit = key.findIndex((column, place) => !isCanonical(column, cells[place] ?? ''));
  if (misfit >= 0)
    return `its key_text has ${JSON.stringify(cells[misfit])}, which is not how ${key[misfit]?.name} is written`;
  return { ...common, key: cells };
}

/** The cells of a hold's key, or what is wrong with it. */
export function heldKey(row: Row): readonly string[] | string {
  const [written, keyHash] = [row['key_text']?.toString() ?? null, row['key_hash']];
  if (written === null || !Buffer.isBuffer(keyHash)) return 'it needs key_text with its key_hash, or a predicate';
  const cells = parseKey(written);
  if (cells === null) return 'its key_text is no JSON array of texts';
  if (keyText(cells) !== written) return `its key_text is to be written as ${keyText(cells)}`;
  if (!hash('sha256', written, 'buffer').equals(keyHash)) return 'its key_hash is not the SHA-256 of its key_text';
  return cells;
}

/**
 * Tables are known by their exact names: a hold on another spelling would keep nothing.
 * @param tables that are archived
 * @param output takes warnings of holds on tables that are not there; null for none
 * @throws AppError HOLD_INVALID
 */
async function checkHeldNames(connection: Connection, tables: readonly string[], output: Output | null): Promise<void> {
  const { name: schema } = connection.settings;
  const held = await connection.rows(
    `SELECT table_name AS held, CAST(MIN(id) AS CHAR) AS id FROM ${quoteTable(schema, 'tableset_holds')}
     WHERE until IS NULL OR until > UTC_TIMESTAMP(6) GROUP BY table_name`,
  );
  const strange = held.filter((row) => !tables.includes(String(row['held'])));
  if (strange.length === 0) return;
  const there = await connection.rows(
    'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ?',
    [schema],
  );
  const names = new Set(there.map((row) => String(row['name'])));
  for (const row of strange) {
    const [name, id] = [String(row['held']), String(row['id'])];
    if (names.has(name)) continue;
    const meant = tables.find((table) => folded(table) === folded(name));
    if (meant !== undefined) {
      throw loaderError('HOLD_INVALID', `hold ${id} is on ${JSON.stringify(name)}; the table's name is ${meant}`, {
        details: { table: meant, hold: id },
      });
    }
    output?.event('warn', 'a hold is on a table that is not there', { table: name, hold: id });
  }
}

/**
 * Warns of holds on tables that are not there, and refuses misspelt ones. Without a ledger there are none.
 * @throws AppError HOLD_INVALID
 */
export async function warnOfHolds(
  connection: Connection,
  tasks: readonly ArchiveTask[],
  output: Output,
): Promise<void> {
  const tables = tasks.flatMap((task) => [task.table, ...task.children.map((child) => child.table)]);
  try {
    await checkHeldNames(connection, tables, output);
  } catch (error) {
    if (!isMissingTable(error)) throw error;
  }
}

function folded(name: string): string {
  return name.normalize('NFC').trim().toLowerCase();
}

interface WrittenKey {
  readonly id: string;
  readonly cells: readonly string[];
}

/** Holds that are looked up in one statement. */
const lookupKeys = 100;

/** The first hold that means a row whose key the server prints in another way, so that it would keep nothing. */
async function findMiswritten(
  connection: Connection,
  definition: TableDefinition,
  key: readonly ColumnDefinition[],
  written: readonly WrittenKey[],
): Promise<{ readonly id: string; readonly fault: string } | null> {
  const table = quoteTable(definition.schema, definition.name);
  const printed = key.map((column, place) => `${printedCell(column)} AS k${place}`).join(', ');
  for (let start = 0; start < written.length; start += lookupKeys) {
    const some = written.slice(start, start + lookupKeys);
    const parts = some.flatMap(({ cells }, index) =>
      spellings(cells).map((spelt) => {
        const found = isKey(
          key.map((column, place) => ({ column, cell: spelt[place] ?? '' })),
          'r',
        );
        return { sql: `SELECT ${index} AS hold, ${printed} FROM ${table} r WHERE ${found.sql}`, values: found.values };
      }),
    );
    const rows = await connection.rows(
      parts.map(({ sql }) => sql).join(' UNION ALL '),
      parts.flatMap(({ values }) => values),
    );
    // Where a row has the very text, another that is like it is not what is meant.
    const exact = new Set<WrittenKey>();
    const others = new Map<WrittenKey, string>();
    for (const row of rows) {
      const hold = some[Number(row['hold'])];
      if (!hold) continue;
      const text = keyText(key.map((_, place) => keyCell(row[`k${place}`])));
      if (text === keyText(hold.cells)) exact.add(hold);
      else others.set(hold, text);
    }
    for (const [hold, text] of others)
      if (!exact.has(hold)) return { id: hold.id, fault: `its key_text is to be written as ${text}` };
  }
  return null;
}

/** What people write may be composed in another way than what is stored. */
function spellings(cells: readonly string[]): readonly (readonly string[])[] {
  const forms = [cells, cells.map((cell) => cell.normalize('NFC')), cells.map((cell) => cell.normalize('NFD'))];
  return Array.from(new Map(forms.map((form) => [keyText(form), form])).values());
}

function printedCell(column: ColumnDefinition): string {
  const cell = cellExpression(column, 'r');
  if (isBinaryColumn(column)) return `HEX(${cell})`;
  return isTextType(column.dataType) || column.dataType === 'enum' || column.dataType === 'set'
    ? `CONVERT(${cell} USING utf8mb4)`
    : `CAST(${cell} AS CHAR)`;
}

function parseKey(text: string): readonly string[] | null {
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) && parsed.every((cell) => typeof cell === 'string') ? parsed : null;
  } catch {
    return null;
  }
}

/** Whether `isCanonical` knows all that there is to know. */
function isCertain(column: ColumnDefinition): boolean {
  const { dataType } = column;
  return isIntegerType(dataType) || dataType === 'bit' || isBinaryColumn(column) || dataType === 'uuid';
}

/** Whether a cell may be the text that the server prints for a value of the column; any other would never be found. */
function isCanonical(column: ColumnDefinition, cell: string): boolean {
  const { dataType } = column;
  if (column.zerofill) return /^\d+$/.test(cell);
  if (dataType === 'year') return /^\d{4}$/.test(cell);
  if (isIntegerType(dataType) || dataType === 'bit') return /^(?:0|-?[1-9]\d*)$/.test(cell);
  if (dataType === 'decimal') {
    const scale = column.numericScale ?? 0;
    return new RegExp(`^-?\\d+${scale > 0 ? `\\.\\d{${scale}}` : ''}$`).test(cell);
  }
  if (isBinaryColumn(column)) return /^(?:[0-9A-F]{2})*$/.test(cell);
  if (dataType === 'uuid') return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(cell);
  if (dataType === 'date') return /^\d{4}-\d\d-\d\d$/.test(cell);
  if (dataType === 'datetime' || dataType === 'timestamp') {
    const fraction = column.datetimePrecision ? `\\.\\d{${column.datetimePrecision}}` : '';
    return new RegExp(`^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d${fraction}$`).test(cell);
  }
  if (dataType === 'enum') return column.members.includes(cell);
  return true;
}
