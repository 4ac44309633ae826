import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { ArchiveSet } from '../core/archive/archive-set.ts';
import type { SqlPart } from '../core/archive/conditions.ts';
import { toUtc } from '../core/archive/cutoff.ts';
import { keyCell } from '../core/archive/key-columns.ts';
import { keyCells, linkMatch, sourceTable } from '../core/archive/one-server-sql.ts';
import { findMissingRights } from './check-rights.ts';
import { type DeletionBudget, openBudget } from './deletion-budget.ts';
import { type PlannedSet, planArchive } from './plan-archive.ts';
import { type ArchiveOutcome, type ArchiveRequest, staysBehind } from './run-archive.ts';

/** What an archive run would do with one table: matched = wouldArchive + everything skipped. */
export interface WouldArchive {
  readonly table: string;
  readonly matched: number;
  readonly wouldArchive: number;
  /** By reason. */
  readonly skipped: Readonly<Record<string, number>>;
}

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
  /** The root alone: older than this, in UTC. */
  readonly cutoff: string | null;
  /** The root alone: what its date column is compared with, strictly less, and the zone that this is in. */
  readonly comparison: { readonly column: string; readonly lessThan: string; readonly zone: string } | null;
  /** What may not be meant. */
  readonly warnings: readonly string[];
  /** Why a run would not get through. */
  readonly refusals: readonly string[];
}

const samplesMax = 10;
/** So large a share of a table is seldom meant to go at once. */
const shareWarned = 0.9;
/** Dates before this are the beginning of the epoch in some zone, or older: mostly dates that nobody set. */
const suspiciousBefore = '1970-01-03';

/** Counts what a run would do without the lock and without writing anything. */
export async function dryRunArchive(connection: Connection, request: ArchiveRequest): Promise<ArchiveOutcome> {
  const { output, config } = request;
  const nowUtc = String((await connection.row('SELECT UTC_TIMESTAMP(6) AS now'))?.['now']);
  const rights = await findMissingRights(connection, request);
  // A run would name the rights first.
  const planned = await planArchive(connection, request.tasks, { nowUtc, output }).catch((error: unknown) => {
    throw rights?.error ?? error;
  });
  const budget = await openBudget(config.limits.maxDeletes, async () => {
    let rows = 0;
    const tables = new Set(planned.flatMap(({ set }) => set.tables.map(sourceTable)));
    for (const table of tables) rows += await count(connection, { sql: `FROM ${table}`, values: [] });
    return rows;
  });
  const tables: WouldArchive[] = [];
  const plan: PlannedTable[] = [];
  let refusal = rights?.error ?? null;
  for (const each of planned) {
    for (let place = 0; place < each.set.tables.length; place++) {
      const described = await describe(each, place, connection);
      const over = overBudget(budget, described.rows);
      refusal ??= over;
      tables.push(await countsOf(each, place, described, connection));
      plan.push(over ? { ...described, refusals: [`${over.code}: ${over.message}`] } : described);
    }
  }
  return { outcome: 'done', tables: [], dryRun: { tables, plan, missingGrants: rights?.missing ?? [], refusal } };
}

async function describe(
  { set, selection, cutoff }: PlannedSet,
  place: number,
  connection: Connection,
): Promise<PlannedTable> {
  const table = set.tables[place];
  if (!table) throw new RangeError(`no table ${place} in the set`);
  const chosen = selection();
  const from = chosenRows(set, place, chosen.matches('t0'), chosen.indexHint);
  const date = place === 0 ? `t0.${quoteIdentifier(set.task.dateColumn)}` : 'NULL';
  const alias = `t${place}`;
  const enums = table.columns.filter(({ dataType }) => dataType === 'enum');
  // Number 0 is what a server stores for a value that is no member.
  const invalid = enums.map(
    ({ name }, index) => `, SUM(${alias}.${quoteIdentifier(name)} + 0 = 0) AS invalid_${index}`,
  );
  const facts = await one(connection, {
    sql: `SELECT COUNT(*) AS count, MIN(${date}) AS oldest, MAX(${date}) AS newest${invalid.join('')} ${from.sql}`,
    values: from.values,
  });
  const rows = Number(facts['count']);
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
  const { dateColumn, dateType, dateZone } = set.task;
  const utc = (cell: unknown) => toUtc(set.task, String(cell));
  const dates = place === 0 && rows > 0 ? { oldest: utc(facts['oldest']), newest: utc(facts['newest']) } : null;
  return {
    table: table.definition.name,
    rows,
    keys: sample[0] && last ? { first: sample[0], last } : null,
    dates,
    sample,
    cutoff: place === 0 ? cutoff.utc : null,
    // Seconds since 1970 are in no zone but that.
    comparison:
      place === 0 ? { column: dateColumn, lessThan: cutoff.value, zone: dateType === 'date' ? dateZone : 'UTC' } : null,
    warnings: [
      ...(dates === null ? [] : await warningsOf(set, rows, dates.oldest, connection)),
      ...enums.flatMap(({ name }, index) => {
        const found = Number(facts[`invalid_${index}`] ?? 0);
        const what = `${found} rows of ${table.definition.name} hold no member of the ENUM ${name}`;
        return found > 0 ? [`${what}, but the empty error value; they are archived as they are`] : [];
      }),
    ],
    refusals: [],
  };
}

/** What looks like a wrong setting rather than like old rows. */
async function warningsOf(
  set: ArchiveSet,
  rows: number,
  oldest: string,
  connection: Connection,
): Promise<readonly string[]> {
  const { table, dateColumn, archiveAfterDays } = set.task;
  const warnings: string[] = [];
  // No more is counted than is needed to know.
  const most = Math.floor(rows / shareWarned);
  const limited = `FROM (SELECT 1 FROM ${sourceTable(set.tables[0])} LIMIT ${most + 1}) AS first_rows`;
  const all = await count(connection, { sql: limited, values: [] });
  if (all <= most) {
    const share = Math.floor((rows / Math.max(all, rows)) * 100);
    warnings.push(
      `${rows} of ${all} rows of ${table} (${share} %) would go: see that dateColumn ${dateColumn} and archiveAfterDays ${archiveAfterDays} are what is meant`,
    );
  }
  if (oldest < suspiciousBefore) {
    warnings.push(
      `the oldest ${dateColumn} of ${table} is ${oldest} UTC: see that it is a date, and not what stands for none`,
    );
  }
  return warnings;
}

async function countsOf(
  { set, holds, selection }: PlannedSet,
  place: number,
  { table, rows }: PlannedTable,
  connection: Connection,
): Promise<WouldArchive> {
  const counts: Record<string, unknown> =
    place === 0 && staysBehind({ set, holds }) ? await one(connection, selection().skippedCounts(null)) : {};
  const skipped = Object.entries(counts)
    .map(([reason, held]) => [reason, Number(held)] as const)
    .filter(([, held]) => held > 0);
  const matched = skipped.reduce((sum, [, held]) => sum + held, rows);
  return { table, matched, wouldArchive: rows, skipped: Object.fromEntries(skipped) };
}

function overBudget(budget: DeletionBudget, rows: number): AppError | null {
  try {
    budget.spend(rows);
    return null;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return error;
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

async function count(connection: Connection, { sql, values }: SqlPart): Promise<number> {
  return Number((await one(connection, { sql: `SELECT COUNT(*) AS count ${sql}`, values }))['count']);
}
