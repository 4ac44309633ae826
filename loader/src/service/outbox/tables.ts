import { type ServiceTable, tableOptions } from '../tables.ts';

export const outboxTables: readonly ServiceTable[] = [
  {
    name: 'tableset_service_webhooks',
    ddl: `CREATE TABLE IF NOT EXISTS tableset_service_webhooks (
      id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
      origin VARCHAR(300) NOT NULL COMMENT 'of the address; the rest of it may be a secret',
      url TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'AES-256-GCM: v1:KEY:BASE64',
      secret TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'AES-256-GCM: v1:KEY:BASE64',
      table_names TEXT NULL COMMENT 'JSON; null: all',
      timeout_seconds INT UNSIGNED NOT NULL,
      created_at DATETIME(6) NOT NULL,
      created_by VARCHAR(128) NOT NULL
    ) ${tableOptions}`,
  },
  {
    name: 'tableset_service_deliveries',
    ddl: `CREATE TABLE IF NOT EXISTS tableset_service_deliveries (
      id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
      receiver VARCHAR(64) NOT NULL COMMENT 'file:HASH, env, or api:ID',
      event_id VARCHAR(160) NOT NULL COMMENT 'the same at every try',
      run_id BIGINT UNSIGNED NOT NULL,
      table_name VARCHAR(64) NOT NULL,
      body TEXT NOT NULL COMMENT 'JSON, the same bytes at every try',
      state VARCHAR(16) NOT NULL COMMENT 'waiting, told, dead',
      token BIGINT UNSIGNED NOT NULL COMMENT 'raised by whoever tells it; a stale one changes nothing',
      attempts INT UNSIGNED NOT NULL,
      attempts_max INT UNSIGNED NOT NULL,
      next_at DATETIME(6) NOT NULL COMMENT 'not told before; while it is being told, the end of the lease',
      reason VARCHAR(500) NULL COMMENT 'why the last try failed',
      created_at DATETIME(6) NOT NULL,
      finished_at DATETIME(6) NULL,
      UNIQUE KEY event (receiver, event_id),
      KEY waiting (state, receiver, id),
      KEY finished_at (finished_at)
    ) ${tableOptions}`,
  },
];
