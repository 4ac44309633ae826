const tableOptions = 'ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin';

/** The statements by which programs made the first revision of the ledger. They are history: nothing here ever changes. */
export const firstLedger = `CREATE TABLE IF NOT EXISTS tableset_tables (
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
  ) ${tableOptions};
  CREATE TABLE IF NOT EXISTS tableset_rejects (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    run_id BIGINT UNSIGNED NOT NULL,
    table_name VARCHAR(64) NOT NULL,
    file TEXT NOT NULL,
    line BIGINT UNSIGNED NOT NULL,
    column_name VARCHAR(64) NULL,
    reason VARCHAR(1000) NOT NULL,
    value TEXT NULL,
    KEY run_id (run_id)
  ) ${tableOptions};
  CREATE OR REPLACE SQL SECURITY INVOKER VIEW tableset_freshness AS SELECT table_name, loaded_at, checked_at, source, row_count,
    TIMESTAMPDIFF(SECOND, checked_at, UTC_TIMESTAMP(6)) AS age_seconds FROM tableset_tables;
  CREATE TABLE IF NOT EXISTS tableset_runs (
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
  ) ${tableOptions} COMMENT='Tableset ledger, format 1'`;
