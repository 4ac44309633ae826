import type { Connection, Row } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import { adoptHistory, type ForeignHistory } from './core/adopt.ts';
import { migrationError } from './errors.ts';
import { type OperationSettings, underLock } from './operation.ts';
import { recordApplied, recordOf } from './record-applied.ts';
import { programVersion } from './version.ts';

export type ForeignTool = ForeignHistory['tool'];

/** The tools and the tables that they keep their history in, by default. */
export const foreignTables: Readonly<Record<ForeignTool, string>> = {
  knex: 'knex_migrations',
  flyway: 'flyway_schema_history',
  'golang-migrate': 'schema_migrations',
  dbmate: 'schema_migrations',
  goose: 'goose_db_version',
};

/**
 * `migrator adopt TOOL`: records what another tool has applied, without running anything. Its table stays as it is.
 * @throws AppError MIGRATION_ADOPT_…, MIGRATION_HISTORY_EXISTS
 */
export async function adoptTool(
  settings: OperationSettings & { readonly tool: ForeignTool; readonly table: string | undefined },
  output: Output,
  signal: AbortSignal,
): Promise<VerbResult> {
  const { tool } = settings;
  const table = settings.table ?? foreignTables[tool];
  return await underLock(settings, 'migrate-adopt', { tool, table }, { output, signal }, async (context) => {
    const { connection, folder } = context;
    const { applied, baseline } = adoptHistory(folder, await readForeign(connection, tool, table));
    const records = applied.map(recordOf);
    if (baseline !== undefined && !records.some(({ id }) => id === baseline)) {
      records.unshift({
        id: baseline,
        name: 'baseline',
        file: null,
        checksum: null,
        repeatable: false,
        baseline: true,
      });
    }
    await recordApplied(context, records, `adopt ${tool} ${programVersion}`);
    return {
      summary: { outcome: 'done', adopted: records.map(({ file, id }) => file ?? id) },
      lines: [`${records.length} migrations of ${tool} are recorded as applied; ${table} stays as it is`],
    };
  });
}

const columns: Readonly<Record<ForeignTool, string>> = {
  knex: 'SELECT name FROM @ ORDER BY id',
  flyway: 'SELECT installed_rank, version, description, type, script, checksum, success FROM @ ORDER BY installed_rank',
  'golang-migrate': 'SELECT version, dirty FROM @',
  dbmate: 'SELECT version FROM @ ORDER BY version',
  goose: 'SELECT version_id, is_applied FROM @ ORDER BY id',
};

async function readForeign(connection: Connection, tool: ForeignTool, table: string): Promise<ForeignHistory> {
  let rows: readonly Row[];
  try {
    rows = await connection.rows(columns[tool].replace('@', () => quoteIdentifier(table)));
  } catch (error) {
    const fault = classifyFault(error);
    if (fault !== 'missing-table' && fault !== 'other') throw error;
    throw migrationError(
      'MIGRATION_ADOPT_NO_TABLE',
      `schema ${connection.settings.name} has no table ${table} as ${tool} makes it`,
      { cause: error },
    );
  }
  switch (tool) {
    case 'knex':
      return { tool, rows: rows.map((row) => ({ name: text(row, 'name') })) };
    case 'dbmate':
      return { tool, rows: rows.map((row) => ({ version: text(row, 'version') })) };
    case 'golang-migrate':
      return { tool, rows: rows.map((row) => ({ version: text(row, 'version'), dirty: flag(row, 'dirty') })) };
    case 'goose':
      return {
        tool,
        rows: rows.map((row) => ({ version_id: text(row, 'version_id'), is_applied: flag(row, 'is_applied') })),
      };
    case 'flyway':
      return { tool, rows: rows.map(flywayRow) };
    default:
      return tool satisfies never;
  }
}

function flywayRow(row: Row) {
  return {
    installed_rank: Number(text(row, 'installed_rank')),
    version: row['version'] === null ? null : text(row, 'version'),
    description: text(row, 'description'),
    type: text(row, 'type'),
    script: text(row, 'script'),
    checksum: row['checksum'] === null ? null : Number(text(row, 'checksum')),
    success: flag(row, 'success'),
  };
}

function text(row: Row, column: string): string {
  return String(row[column] ?? '');
}

/** A TINYINT or a BIT, as different versions of the tools made the column. */
function flag(row: Row, column: string): boolean {
  const value = row[column];
  return Buffer.isBuffer(value) ? value.some((byte) => byte !== 0) : value !== null && value !== '0' && value !== '';
}
