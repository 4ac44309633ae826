import type { Connection } from '@tableset/common/database/connection.ts';

/** One table of the service, with an idempotent statement that makes it. */
export interface ServiceTable {
  readonly name: string;
  readonly ddl: string;
}

export const tableOptions = 'ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin';

/**
 * Tables of the core. They lie beside the ledger and do not change its format, so that images which do not know them go on working.
 * Times are UTC by the server's clock, which all replicas share.
 */
export const coreTables: readonly ServiceTable[] = [
  {
    name: 'tableset_service_runs',
    ddl: `CREATE TABLE IF NOT EXISTS tableset_service_runs (
      id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
      task VARCHAR(16) NOT NULL,
      target VARCHAR(64) NOT NULL COMMENT 'file, or record:ID',
      database_key VARCHAR(400) NOT NULL COMMENT 'runs of one database go one after the other',
      table_names TEXT NULL COMMENT 'JSON; null: all',
      options TEXT NOT NULL COMMENT 'JSON',
      \`trigger\` VARCHAR(16) NOT NULL,
      requested_by VARCHAR(128) NOT NULL,
      idempotency_key VARCHAR(400) NULL,
      request_hash CHAR(64) NOT NULL COMMENT 'what the key stands for',
      state VARCHAR(16) NOT NULL COMMENT 'queued, running, done, failed, cancelled',
      attempt INT UNSIGNED NOT NULL,
      attempts_max INT UNSIGNED NOT NULL,
      token BIGINT UNSIGNED NOT NULL COMMENT 'raised by whoever takes the run over; a stale one changes nothing',
      owner VARCHAR(255) NULL,
      worker VARCHAR(255) NULL COMMENT 'name of the Kubernetes Job',
      lease_until DATETIME(6) NULL,
      created_at DATETIME(6) NOT NULL,
      not_before DATETIME(6) NOT NULL,
      started_at DATETIME(6) NULL,
      finished_at DATETIME(6) NULL,
      cancel_requested_at DATETIME(6) NULL,
      progress TEXT NULL COMMENT 'JSON',
      summary LONGTEXT NULL COMMENT 'JSON',
      error TEXT NULL COMMENT 'JSON: code, message, hint, exit',
      log_tail TEXT NULL,
      worker_result MEDIUMTEXT NULL COMMENT 'JSON: how its worker Job says that it ended, before that is written down',
      retry_of BIGINT UNSIGNED NULL,
      UNIQUE KEY idempotency_key (idempotency_key),
      KEY state (state, id),
      KEY task (task, state, finished_at),
      KEY finished_at (finished_at),
      KEY retry_of (retry_of)
    ) ${tableOptions}`,
  },
  {
    name: 'tableset_service_schedules',
    ddl: `CREATE TABLE IF NOT EXISTS tableset_service_schedules (
      task VARCHAR(16) NOT NULL,
      target VARCHAR(64) NOT NULL,
      cron VARCHAR(255) NOT NULL COMMENT 'pattern and zone that checked_at belongs to',
      checked_at DATETIME(3) NOT NULL COMMENT 'what was due until then was seen to',
      PRIMARY KEY (task, target)
    ) ${tableOptions}`,
  },
  {
    name: 'tableset_service_audit',
    ddl: `CREATE TABLE IF NOT EXISTS tableset_service_audit (
      id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
      at DATETIME(6) NOT NULL,
      actor VARCHAR(128) NOT NULL,
      action VARCHAR(64) NOT NULL,
      subject VARCHAR(255) NOT NULL,
      details TEXT NOT NULL COMMENT 'JSON',
      KEY at (at)
    ) ${tableOptions}`,
  },
];

/**
 * Makes those of the tables that are not there; an account that may not create tables needs none to be missing.
 * @throws a server error 1142 if one is missing and the account may not make it
 */
export async function ensureTables(connection: Connection, tables: readonly ServiceTable[]): Promise<void> {
  const rows = await connection.rows(
    "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'tableset\\_service\\_%'",
  );
  const there = new Set(rows.map((row) => String(row['name'])));
  for (const { name, ddl } of tables) if (!there.has(name)) await connection.run(ddl);
}
