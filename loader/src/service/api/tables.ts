import { type ServiceTable, tableOptions } from '../tables.ts';

export const apiTables: readonly ServiceTable[] = [
  {
    name: 'tableset_service_archival',
    ddl: `CREATE TABLE IF NOT EXISTS tableset_service_archival (
      id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
      version BIGINT UNSIGNED NOT NULL COMMENT 'raised by each change; the ETag',
      database_key VARCHAR(400) NOT NULL COMMENT 'host:port/schema of the table',
      table_name VARCHAR(64) NOT NULL,
      enabled BOOLEAN NOT NULL,
      settings MEDIUMTEXT NOT NULL COMMENT 'JSON, without passwords',
      primary_password VARCHAR(8000) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'AES-256-GCM: v1:KEY:BASE64',
      archival_password VARCHAR(8000) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'AES-256-GCM: v1:KEY:BASE64',
      created_at DATETIME(6) NOT NULL,
      created_by VARCHAR(128) NOT NULL,
      updated_at DATETIME(6) NOT NULL,
      updated_by VARCHAR(128) NOT NULL,
      UNIQUE KEY place (database_key, table_name)
    ) ${tableOptions}`,
  },
];
