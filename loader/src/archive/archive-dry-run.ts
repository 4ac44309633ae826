import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { ArchiveSet } from '../core/archive/archive-set.ts';
import type { SqlPart } from '../core/archive/conditions.ts';
import { toUtc } from '../core/archive/cutoff.ts';
import { keyCell } from '../core/archive/key-columns.ts';
import { keyCells, linkMatch, sourceTable } from '../core/archive/one-server-sql.ts';
import { CountsByTable } from './archive-counts.ts';
import { type DeletionBudget, openBudget } from './deletion-budget.ts';
import { type PlannedSet, planArchive } from './plan-archive.ts';
import { type ArchiveOutcome, type ArchiveRequest, staysBehind } from './run-archive.ts';

/** What an archive run would take of one table. */
export interface PlannedTable {
  readonly table: string;
  readonly rows: number;
  /** Least and greatest key, cells as text; null where there are no rows. */
  readonly keys: { readonly first: readonly string[]; readonly last: readonly string[] } | null;
  /** Of the root's rows in UTC. */
  readonly dates: { readonly oldest: string; readonly newest: string } | null;
  /** Some of its keys. */
  readonly sample: readonly (readonly string[])[];
  /** The root alone: older than this. */
  readonly cutoff: string | null;
  /** Why a run would not get through. */
  readonly refusals: readonly string[];
}

const samplesMax = 10;

/** Counts what a run would do without the lock and without writing anything. */
export async function dryRunArchive(connection: Connection, request: ArchiveRequest): Promise<ArchiveOutcome> {
  const { output, config } = request;
  const nowUtc = String((await connection.row('SELECT UTC_TIMESTAMP(6) AS now'))?.['now']);
  const planned = await planArchive(connection, request.tasks, { nowUtc, output });
  const budget = await openBudget(config.limits.maxDeletes, async () => {
    let rows = 0;
    const tables = new Set(planned.flatMap(({ set }) => set.tables.map(sourceTable)));
    for (const table of tables)
      rows += Number((await one(connection, { sql: `SELECT COUNT(*) AS count FROM ${table}`, values: [] }))['count']);
    return rows;
  });
  const counts = new CountsByTable();
  const plan: PlannedTable[] = [];
  for (const each of planned) {
    for (let place = 0; place < each.set.tables.length; place++) {
      plan.push(await describe(each, place, connection, budget, counts));
    }
  }
  return { outcome: 'done', tables: counts.all(), plan };
}

async function describe(
  { set, selection, cutoff, holds }: PlannedSet,
  place: number,
  connection: Connection,
  budget: DeletionBudget,
  counts: CountsByTable,
): Promise<PlannedTable> {
  const table = set.tables[place];
  if (!table) throw new RangeError(`no table ${place} in the set`);
  const chosen = selection();
  const from = chosenRows(set, place, chosen.matches('t0'), chosen.indexHint);
  const name = table.definition.name;
  const date = place === 0 ? `t0.${quoteIdentifier(set.task.dateColumn)}` : 'NULL';
  const facts = await one(connection, {
    sql: `SELECT COUNT(*) AS count, MIN(${date}) AS oldest, MAX(${date}) AS newest ${from.sql}`,
    values: from.values,
  });
  const rows = Number(facts['count']);
  const alias = `t${place}`;
  const keys = async (direction: '' | ' DESC', limit: number) => {
    const order = table.key.map((column) => `${alias}.${quoteIdentifier(column)}${direction}`).join(', ');
    const found = await connection.rows(
      `SELECT ${keyCells(table, alias)} ${from.sql} ORDER BY ${order} LIMIT ${limit}`,
      from.values,
    );
    return found.map((row) => table.key.map((column) => keyCell(row[column])));
  };
  const sample = rows === 0 ? [] : await keys('', samplesMax);
  const [last] = rows === 0 ? [] : await keys(' DESC', 1);
  counts.add([
    { batch: '', seconds: 0, tables: [{ table: name, archived: rows, verified: rows, deleted: rows, skipped: {} }] },
  ]);
  if (place === 0 && staysBehind({ set, holds })) {
    for (const [reason, held] of Object.entries(await one(connection, chosen.skippedCounts(null))))
      counts.skip(name, reason, Number(held));
  }
  return {
    table: name,
    rows,
    keys: sample[0] && last ? { first: sample[0], last } : null,
    dates:
      place === 0 && rows > 0
        ? { oldest: toUtc(set.task, String(facts['oldest'])), newest: toUtc(set.task, String(facts['newest'])) }
        : null,
    sample,
    cutoff: place === 0 ? cutoff.utc : null,
    refusals: refusalsOf(budget, rows),
  };
}

function refusalsOf(budget: DeletionBudget, rows: number): readonly string[] {
  try {
    budget.spend(rows);
    return [];
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return [`${error.code}: ${error.message}`];
  }
}

/** FROM and WHERE for the rows of a table that would go: the root as `t0`, the table itself as `t` and its place. */
export function chosenRows(set: ArchiveSet, place: number, matches: SqlPart, indexHint: string): SqlPart {
  const chain: number[] = [];
  for (let at: number | null = place; at !== null; at = set.tables[at]?.child?.parent ?? null) chain.unshift(at);
  const joins = chain.map((at) => {
    const table = set.tables[at];
    if (!table) throw new RangeError(`no table ${at} in the set`);
    return table.child === null
      ? `FROM ${sourceTable(table)} t0${indexHint}`
      : ` STRAIGHT_JOIN ${sourceTable(table)} t${at} ON ${linkMatch(table.child, `t${at}`, `t${table.child.parent}`)}`;
  });
  return { sql: `${joins.join('')} WHERE ${matches.sql}`, values: matches.values };
}

async function one(connection: Connection, { sql, values }: SqlPart) {
  return (await connection.row(sql, values)) ?? {};
}
