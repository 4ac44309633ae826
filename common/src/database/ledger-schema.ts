import { ledgerComment, ledgerMark } from './ledger-format.ts';

/**
 * The ledger in the target schema, shared by both images. `tableset_tables` is the state of each table that has been loaded,
 * which `--if-changed` reads and the view `tableset_freshness` shows to the app; `tableset_batches` has one row a batch of archived rows
 * and is never deleted from, `tableset_holds` says which rows are not to be archived or purged. The format and its revision stand in the comment of
 * `tableset_runs` (ledger-format.ts).
 */
export interface LedgerTable {
  readonly name: string;
  /** The revision that added it. */
  readonly since: number;
  /** Columns and keys as CREATE TABLE has them, the primary key within its column. */
  readonly parts: readonly LedgerPart[];
}

export interface LedgerPart {
  readonly kind: 'column' | 'key';
  readonly name: string;
  readonly since: number;
  readonly sql: string;
}

const tableOptions = 'ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin';

/** One column or key a line. The last table carries the format, so that a partial ledger is completed. */
export const ledgerTables: readonly LedgerTable[] = [
  table(
    'tableset_tables',
    `
    table_name VARCHAR(64) NOT NULL PRIMARY KEY,
    loaded_at DATETIME(6) NULL COMMENT 'last time a load changed or confirmed the content, UTC',
    checked_at DATETIME(6) NULL COMMENT 'last time the source was compared, UTC',
    source TEXT NULL,
    source_hash VARCHAR(255) NULL,
    settings_hash CHAR(64) NULL,
    definition_hash CHAR(64) NULL,
    created_at VARCHAR(32) NULL COMMENT 'CREATE_TIME of the table that was loaded',
    row_count BIGINT UNSIGNED NULL,
    run_id BIGINT UNSIGNED NULL,
    date_column VARCHAR(64) NULL COMMENT 'column that archiving goes by',
    archived_before DATETIME(6) NULL COMMENT 'rows older than this were archived or purged and do not come back'
    `,
    { additions: { 2: "archived_below BIGINT NULL COMMENT 'the same as an integer date column has it'" } },
  ),
  table(
    'tableset_rejects',
    `
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    run_id BIGINT UNSIGNED NOT NULL,
    table_name VARCHAR(64) NOT NULL,
    file TEXT NOT NULL,
    line BIGINT UNSIGNED NOT NULL,
    column_name VARCHAR(64) NULL,
    reason VARCHAR(1000) NOT NULL,
    value TEXT NULL,
    KEY run_id (run_id)
    `,
  ),
  table(
    'tableset_batches',
    `
    id BIGINT UNSIGNED NOT NULL PRIMARY KEY COMMENT 'unique over all schemas that share a store',
    run_id BIGINT UNSIGNED NOT NULL,
    table_name VARCHAR(64) NOT NULL COMMENT 'root of the set',
    store VARCHAR(64) NOT NULL,
    state VARCHAR(16) NOT NULL COMMENT 'copying, copied, verified, deleted; abandoned, removed; purging, purged',
    token BIGINT UNSIGNED NOT NULL COMMENT 'raised by whoever takes the batch over; a stale one changes nothing',
    shard INT UNSIGNED NULL,
    cutoff DATETIME(6) NOT NULL COMMENT 'UTC',
    first_key TEXT NULL COMMENT 'JSON array of the key as text',
    last_key TEXT NULL,
    oldest DATETIME(6) NULL COMMENT 'dates of the root rows, UTC',
    newest DATETIME(6) NULL,
    row_count BIGINT UNSIGNED NULL COMMENT 'of the root',
    total_rows BIGINT UNSIGNED NULL COMMENT 'of all tables of the set',
    manifest LONGTEXT NULL COMMENT 'JSON',
    created_at DATETIME(6) NOT NULL,
    changed_at DATETIME(6) NOT NULL,
    verified_at DATETIME(6) NULL COMMENT 'last time the store was proved against the manifest',
    KEY state (table_name, state, newest),
    KEY run_id (run_id)
    `,
    { since: 2 },
  ),
  table(
    'tableset_holds',
    `
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    table_name VARCHAR(64) NOT NULL,
    key_hash BINARY(32) NULL COMMENT 'SHA-256 of key_text; null for a predicate',
    key_text TEXT NULL COMMENT 'JSON array of the key as text',
    predicate TEXT NULL COMMENT 'JSON list of {column, operator, value}, all of which must hold',
    reason VARCHAR(255) NOT NULL,
    until DATETIME(6) NULL COMMENT 'UTC; null: until it is deleted',
    created_at DATETIME(6) NOT NULL,
    run_id BIGINT UNSIGNED NULL COMMENT 'of the restore that made it',
    KEY held (table_name, key_hash)
    `,
    { since: 2 },
  ),
  table(
    'tableset_shards',
    `
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    generation BIGINT UNSIGNED NOT NULL COMMENT 'run that cut the tables into shards',
    settings_hash CHAR(64) NOT NULL COMMENT 'of the entries under archive; workers with others do not join',
    planned_at DATETIME(6) NOT NULL COMMENT 'UTC; what the cut-offs count from',
    table_name VARCHAR(64) NOT NULL COMMENT 'root of the set',
    shard INT UNSIGNED NOT NULL,
    by_date BOOLEAN NOT NULL COMMENT 'whether the order begins with the date column',
    after_key TEXT NULL COMMENT 'JSON of date and key, exclusive; null: from the start',
    last_key TEXT NULL COMMENT 'JSON of date and key, inclusive; null: to the end',
    max_deletes BIGINT UNSIGNED NULL COMMENT 'its share of the deletion budget',
    state VARCHAR(16) NOT NULL COMMENT 'open, claimed, done',
    token BIGINT UNSIGNED NOT NULL COMMENT 'raised by whoever claims the shard; a stale one changes nothing',
    worker INT UNSIGNED NULL COMMENT 'number of the lock that the claim lasts as long as',
    connection_id BIGINT UNSIGNED NULL COMMENT 'that holds it',
    batches BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'transactions that deleted',
    changed_at DATETIME(6) NOT NULL,
    UNIQUE KEY shard (generation, table_name, shard)
    `,
    { since: 2 },
  ),
  table(
    'tableset_runs',
    `
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    kind VARCHAR(32) NOT NULL,
    \`trigger\` VARCHAR(32) NOT NULL,
    host VARCHAR(255) NOT NULL,
    connection_id BIGINT UNSIGNED NOT NULL,
    version VARCHAR(64) NOT NULL,
    started_at DATETIME(6) NOT NULL,
    finished_at DATETIME(6) NULL,
    outcome VARCHAR(32) NULL,
    counts LONGTEXT NULL COMMENT 'the summary as JSON',
    source_hash VARCHAR(255) NULL,
    settings_hash CHAR(64) NULL,
    error_code VARCHAR(64) NULL,
    error_message TEXT NULL,
    KEY started_at (started_at),
    KEY connection_id (connection_id, finished_at)
    `,
  ),
];

/** For the app: how fresh each loaded table is. */
export const ledgerView = {
  name: 'tableset_freshness',
  sql: `CREATE OR REPLACE SQL SECURITY INVOKER VIEW tableset_freshness AS SELECT table_name, loaded_at, checked_at, source, row_count,
    TIMESTAMPDIFF(SECOND, checked_at, UTC_TIMESTAMP(6)) AS age_seconds FROM tableset_tables`,
} as const;

/** Makes one table of the ledger if it is not there. */
export function createLedgerTable({ name, parts }: LedgerTable): string {
  const comment = name === ledgerMark ? ` COMMENT='${ledgerComment}'` : '';
  return `CREATE TABLE IF NOT EXISTS ${name} (${parts.map(({ sql }) => sql).join(', ')}) ${tableOptions}${comment}`;
}

interface History {
  readonly since?: number;
  /** Columns or keys that revisions added to the table, one a line. */
  readonly additions?: Readonly<Record<number, string>>;
}

function table(name: string, lines: string, { since = 1, additions = {} }: History = {}): LedgerTable {
  const added = Object.entries(additions).flatMap(([revision, more]) => partsOf(more, Number(revision)));
  return { name, since, parts: [...partsOf(lines, since), ...added] };
}

function partsOf(lines: string, since: number): readonly LedgerPart[] {
  return lines
    .trim()
    .split('\n')
    .map((line) => {
      const sql = line.trim().replace(/,$/, '');
      const [, key, column = ''] = /^(?:(?:UNIQUE )?KEY (\w+)|`?(\w+))/.exec(sql) ?? [];
      return key === undefined ? { kind: 'column', name: column, since, sql } : { kind: 'key', name: key, since, sql };
    });
}
