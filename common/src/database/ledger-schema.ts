/**
 * The ledger in the target schema, shared by both images. `tableset_tables` is the state of each table that has been loaded,
 * which `--if-changed` reads and the view `tableset_freshness` shows to the app; `tableset_batches` has one row a batch of archived rows
 * and is never deleted from, `tableset_holds` says which rows are not to be archived or purged. The format's number stands in the comment of
 * `tableset_runs`: newer images read older formats, and refuse newer ones.
 */
export const ledgerFormat = 1;
export const ledgerComment = `Tableset ledger, format ${ledgerFormat}`;

const tableOptions = 'ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin';

/** Idempotent statements in the order they run; the last one carries the format, so that a partial ledger is completed. */
export const ledgerStatements: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS tableset_tables (
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
  ) ${tableOptions}`,
  `CREATE TABLE IF NOT EXISTS tableset_rejects (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    run_id BIGINT UNSIGNED NOT NULL,
    table_name VARCHAR(64) NOT NULL,
    file TEXT NOT NULL,
    line BIGINT UNSIGNED NOT NULL,
    column_name VARCHAR(64) NULL,
    reason VARCHAR(1000) NOT NULL,
    value TEXT NULL,
    KEY run_id (run_id)
  ) ${tableOptions}`,
  `CREATE TABLE IF NOT EXISTS tableset_batches (
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
  ) ${tableOptions}`,
  `CREATE TABLE IF NOT EXISTS tableset_holds (
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
  ) ${tableOptions}`,
  `CREATE TABLE IF NOT EXISTS tableset_shards (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    generation BIGINT UNSIGNED NOT NULL COMMENT 'run that cut the table into shards',
    table_name VARCHAR(64) NOT NULL,
    shard INT UNSIGNED NOT NULL,
    cutoff DATETIME(6) NOT NULL,
    first_key TEXT NULL COMMENT 'JSON array; null: from the start',
    last_key TEXT NULL COMMENT 'JSON array, inclusive; null: to the end',
    state VARCHAR(16) NOT NULL COMMENT 'open, claimed, done',
    token BIGINT UNSIGNED NOT NULL,
    connection_id BIGINT UNSIGNED NULL,
    lease_until DATETIME(6) NULL,
    UNIQUE KEY shard (generation, table_name, shard)
  ) ${tableOptions}`,
  `CREATE OR REPLACE SQL SECURITY INVOKER VIEW tableset_freshness AS SELECT table_name, loaded_at, checked_at, source, row_count,
    TIMESTAMPDIFF(SECOND, checked_at, UTC_TIMESTAMP(6)) AS age_seconds FROM tableset_tables`,
  `CREATE TABLE IF NOT EXISTS tableset_runs (
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
  ) ${tableOptions} COMMENT='${ledgerComment}'`,
];
