import type { TestSchema } from '../../test/servers.ts';
import type { Shop } from './archive-shop.ts';
import type { ArchiveVerb } from './run-archive.ts';

export interface RestoredTable {
  readonly table: string;
  readonly matched: number;
  readonly restored: number;
  readonly overwritten: number;
  readonly unchanged: number;
  readonly conflicts: number;
  readonly skipped: Readonly<Record<string, number>>;
}

export interface PurgedTable {
  readonly table: string;
  readonly matched: number;
  readonly purged: number;
  readonly skipped: Readonly<Record<string, number>>;
}

/** Runs `loader restore --table orders` and fails unless it ends well with counts that add up. */
export async function restore(
  { folder }: Pick<Shop, 'folder'>,
  ...words: readonly string[]
): Promise<readonly RestoredTable[]> {
  // The summary of this verb has these counts.
  const tables = (await run({ folder }, 'restore', ['--table', 'orders', ...words])) as readonly RestoredTable[];
  for (const { matched, restored, unchanged, conflicts, skipped } of tables)
    assertSum(matched, restored + unchanged + conflicts, skipped);
  return tables;
}

/** Runs `loader purge` and fails unless it ends well with counts that add up. */
export async function purge(
  { folder }: Pick<Shop, 'folder'>,
  ...words: readonly string[]
): Promise<readonly PurgedTable[]> {
  // The summary of this verb has these counts.
  const tables = (await run({ folder }, 'purge', words)) as readonly PurgedTable[];
  for (const { matched, purged, skipped } of tables) assertSum(matched, purged, skipped);
  return tables;
}

async function run({ folder }: Pick<Shop, 'folder'>, verb: ArchiveVerb, words: readonly string[]): Promise<unknown> {
  const { exit, summary, stderr } = await folder.run(verb, words);
  if (exit !== 0) throw new Error(`${verb} ended with ${exit}: ${JSON.stringify(summary)}\n${stderr}`);
  return summary.tables ?? [];
}

function assertSum(matched: number, done: number, skipped: Readonly<Record<string, number>>): void {
  const sum = Object.values(skipped).reduce((total, count) => total + count, done);
  if (sum !== matched) throw new Error(`the counts do not add up: ${matched} is not ${sum}`);
}

/** Keys of a table in their order. */
export async function ids(schema: TestSchema, table: string, where = 'TRUE'): Promise<readonly number[]> {
  const rows = await schema.query(`SELECT id FROM ${table} WHERE ${where} ORDER BY id`);
  return rows.map((row) => Number(row['id']));
}

/** Everything of a table as hexadecimal digits of its bytes, so that nothing that differs looks equal. */
export async function bytesOf(schema: TestSchema, table: string, where = 'TRUE'): Promise<readonly string[]> {
  const columns = await schema.query(
    'SELECT column_name AS name, data_type AS type FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position',
    [table],
  );
  const cells = columns.map((row) => {
    const name = `\`${String(row['name'])}\``;
    const type = String(row['type']);
    if (type === 'float' || type === 'double') return `IFNULL(CAST((${name} * 1e0) AS CHAR), '~')`;
    if (type === 'json') return `IFNULL(HEX(CAST(${name} AS CHAR)), '~')`;
    return `IFNULL(HEX(${type === 'bit' ? `${name} + 0` : isText(type) ? name : `CAST(${name} AS BINARY)`}), '~')`;
  });
  const rows = await schema.query(`SELECT CONCAT_WS('|', ${cells.join(', ')}) AS line FROM ${table} WHERE ${where}`);
  return rows.map((row) => String(row['line'])).toSorted();
}

function isText(type: string): boolean {
  return /char|text|blob|binary/.test(type);
}
