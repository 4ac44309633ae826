import type { Value } from '@tableset/common/database/connection.ts';
import { quoteIdentifier, quoteTable } from '@tableset/common/database/quoting.ts';
import { isIntegerType } from '../values/integer.ts';
import type { ArchivedTable, ArchiveSet } from './archive-set.ts';
import { conditionSql, findColumn, type SqlPart } from './conditions.ts';
import { keyHashExpression } from './key-columns.ts';
import type { Hold } from './selection.ts';

/** Conditions on the root, any of which means that a hold keeps the row: a hold on a child keeps its root, since the child goes along. */
export function heldParts(set: ArchiveSet, holds: readonly Hold[], alias: string): readonly SqlPart[] {
  const [root] = set.tables;
  return set.tables.flatMap((table, place) => {
    const name = table.definition.name;
    const own = holds.filter((hold) => (hold.table ?? root.definition.name) === name);
    const at = place === 0 ? alias : `tableset_t${place}`;
    const parts = own.flatMap((hold) => ('predicate' in hold ? [predicateHolds(hold.predicate, table, at)] : []));
    if (own.some((hold) => 'key' in hold)) parts.push(hasKeyHold(table, at));
    return place === 0 ? parts : parts.map((part) => hasDescendant(set, place, alias, part));
  });
}

/** All conditions hold; one whose column is NULL does not. */
function predicateHolds(predicate: readonly Condition[], table: ArchivedTable, alias: string): SqlPart {
  const parts = predicate.map((condition) => conditionSql(condition, table.definition, alias));
  return {
    sql: `(${parts.map(({ sql }) => sql).join(' AND ')}) IS TRUE`,
    values: parts.flatMap(({ values }) => values),
  };
}

type Condition = Parameters<typeof conditionSql>[0];

/** Key holds may be as many as rows were restored, so they are looked up where they are. */
function hasKeyHold(table: ArchivedTable, alias: string): SqlPart {
  const key = table.key.flatMap((name) => findColumn(table.definition, name) ?? []);
  const ledger = quoteTable(table.definition.schema, 'tableset_holds');
  return {
    sql: `EXISTS (SELECT 1 FROM ${ledger} tableset_h WHERE tableset_h.table_name = ? AND tableset_h.key_hash = ${keyHashExpression(key, alias)} AND (tableset_h.until IS NULL OR tableset_h.until > UTC_TIMESTAMP(6)))`,
    values: [table.definition.name],
  };
}

/** Conditions on the root, any of which means that it stays because settings let children of it stay. */
export function keptParts(set: ArchiveSet, alias: string): readonly SqlPart[] {
  return set.tables.flatMap((table, place) => {
    const { child } = table;
    if (child === null || child.settings.leftOut !== 'keep') return [];
    const at = `tableset_t${place}`;
    const parent = child.parent === 0 ? alias : `tableset_t${child.parent}`;
    const { when, resolutionSeconds, dateColumn } = child.settings;
    const parts: SqlPart[] = [];
    if (when) {
      const bounds: [string, Value][] = [];
      const column = `${parent}.${quoteIdentifier(when.column)}`;
      if (when.atMost !== undefined) bounds.push([`${column} <= ?`, when.atMost]);
      if (when.atLeast !== undefined) bounds.push([`${column} >= ?`, when.atLeast]);
      const qualifies = bounds.length === 0 ? 'TRUE' : bounds.map(([sql]) => sql).join(' AND ');
      const values = bounds.map(([, value]) => value);
      parts.push(hasDescendant(set, place, alias, { sql: `(${qualifies}) IS NOT TRUE`, values }));
    }
    if (resolutionSeconds !== null && dateColumn !== null) {
      const date = `${at}.${quoteIdentifier(dateColumn)}`;
      const type = findColumn(table.definition, dateColumn)?.dataType ?? '';
      const seconds = isIntegerType(type) ? date : `TIMESTAMPDIFF(SECOND, '1970-01-01', ${date})`;
      const parents = child.columns.map((column) => `${at}.${quoteIdentifier(column)}`);
      const group = ` GROUP BY ${parents.join(', ')}, FLOOR(${seconds} / ?) HAVING COUNT(*) > 1`;
      parts.push(
        hasDescendant(
          set,
          place,
          alias,
          { sql: `${date} IS NOT NULL`, values: [] },
          { sql: group, values: [resolutionSeconds] },
        ),
      );
    }
    return parts;
  });
}

/** The root has a row below it in the table at this place, which is `tableset_t` and the place there, for which a condition holds. */
function hasDescendant(
  set: ArchiveSet,
  place: number,
  alias: string,
  condition: SqlPart,
  group: SqlPart = { sql: '', values: [] },
): SqlPart {
  const chain: number[] = [];
  for (let at = place; at !== 0; at = set.tables[at]?.child?.parent ?? 0) chain.unshift(at);
  const from: string[] = [];
  const where: string[] = [];
  for (const at of chain) {
    const table = set.tables[at];
    const link = table?.child;
    if (!table || !link) throw new RangeError(`no child ${at} in the set`);
    const parent = link.parent === 0 ? alias : `tableset_t${link.parent}`;
    from.push(`${quoteTable(table.definition.schema, table.definition.name)} tableset_t${at}`);
    for (const [index, column] of link.columns.entries()) {
      where.push(
        `tableset_t${at}.${quoteIdentifier(column)} = ${parent}.${quoteIdentifier(link.parentColumns[index] ?? '')}`,
      );
    }
  }
  return {
    sql: `EXISTS (SELECT 1 FROM ${from.join(', ')} WHERE ${where.join(' AND ')} AND ${condition.sql}${group.sql})`,
    values: [...condition.values, ...group.values],
  };
}
