import { hash } from 'node:crypto';
import type { Connection, Row } from '@tableset/common/database/connection.ts';
import { isMissingTable } from '@tableset/common/database/ledger.ts';
import { quoteString, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import { isBinaryColumn } from '../core/archive/canonical.ts';
import { conditionFault, findColumn } from '../core/archive/conditions.ts';
import { parsePredicate } from '../core/archive/retention.ts';
import { type Hold, keyText } from '../core/archive/selection.ts';
import { primaryKey } from '../core/archive/table-set.ts';
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
  let keyHold: Hold | null = null;
  let invalid: { readonly id: string; readonly fault: string } | null = null;
  try {
    // What a restore wrote has its run; those many rows need no second look.
    await connection.eachRow(`${from} AND (run_id IS NULL OR key_hash IS NULL)`, (row) => {
      const parsed = parseHold(row, definition, key);
      if (typeof parsed === 'string') invalid ??= { id: String(row['id']), fault: parsed };
      else if ('key' in parsed) keyHold ??= parsed;
      else holds.push(parsed);
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
  const found = invalid as { readonly id: string; readonly fault: string } | null;
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
  if (written === null || !Buffer.isBuffer(keyHash)) return 'it needs key_text with its key_hash, or a predicate';
  const cells = parseKey(written);
  if (cells === null) return 'its key_text is no JSON array of texts';
  if (cells.length !== key.length)
    return `its key_text has ${cells.length} cells for the key (${key.map(({ name }) => name).join(', ')})`;
  if (keyText(cells) !== written) return `its key_text is to be written as ${keyText(cells)}`;
  if (!hash('sha256', written, 'buffer').equals(keyHash)) return 'its key_hash is not the SHA-256 of its key_text';
  const misfit = key.findIndex((column, place) => !isCanonical(column, cells[place] ?? ''));
  if (misfit >= 0)
    return `its key_text has ${JSON.stringify(cells[misfit])}, which is not how ${key[misfit]?.name} is written`;
  return { ...common, key: cells };
}

function parseKey(text: string): readonly string[] | null {
  try {
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) && parsed.every((cell) => typeof cell === 'string') ? parsed : null;
  } catch {
    return null;
  }
}

/** Whether a cell may be the text that the server prints for a value of the column; any other would never be found. */
function isCanonical(column: ColumnDefinition, cell: string): boolean {
  const { dataType } = column;
  if (column.zerofill) return /^\d+$/.test(cell);
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
