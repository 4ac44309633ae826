import type { Value } from '@tableset/common/database/connection.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { conditionSql, findColumn } from './archive/conditions.ts';
import { keyHashExpression } from './archive/key-columns.ts';
import type { Hold } from './archive/selection.ts';
import { primaryKey } from './archive/table-set.ts';
import { keysMatch, keyTable, type LoadTarget, operationColumn, operations, targetTable } from './load-sql.ts';

/** Takes what one hold keeps out of the keys that are to be deleted; a hold by key stands for all of them, which are looked up where they are. */
export function keepFromDeletes(
  target: LoadTarget,
  hold: Hold,
): { readonly sql: string; readonly values: readonly Value[] } {
  const { sql, values } = 'predicate' in hold ? byPredicate(target, hold.predicate) : byKey(target);
  return {
    sql: `DELETE k FROM ${keyTable(target)} k STRAIGHT_JOIN ${targetTable(target)} t ON ${keysMatch(target, 'k', 't')} WHERE k.${operationColumn} = ${operations.delete} AND ${sql}`,
    values,
  };
}

function byPredicate({ definition }: LoadTarget, predicate: readonly Parameters<typeof conditionSql>[0][]) {
  const parts = predicate.map((condition) => conditionSql(condition, definition, 't'));
  return {
    sql: `(${parts.map(({ sql }) => sql).join(' AND ')}) IS TRUE`,
    values: parts.flatMap(({ values }) => values),
  };
}

function byKey({ definition }: LoadTarget) {
  const key = primaryKey(definition).flatMap((name) => findColumn(definition, name) ?? []);
  const holds = quoteTable(definition.schema, 'tableset_holds');
  return {
    sql: `EXISTS (SELECT 1 FROM ${holds} h WHERE h.table_name = ? AND h.key_hash = ${keyHashExpression(key, 't')} AND (h.until IS NULL OR h.until > UTC_TIMESTAMP(6)))`,
    values: [definition.name],
  };
}
