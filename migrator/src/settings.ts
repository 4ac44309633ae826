import { databaseSettingTable, lockSettingTable, triggerSettingTable } from '@tableset/common/settings/database.ts';
import { choice, integer, list, path } from '@tableset/common/settings/kinds.ts';
import type { SettingTable } from '@tableset/common/settings/settings.ts';
import { migrationFormats } from './core/formats/migration.ts';

/** Where the migrations are and whose names they bear; every verb has these. */
export const folderSettingTable = {
  directory: {
    flag: 'migrations-dir',
    env: 'MIGRATIONS_DIR',
    kind: path('FOLDER'),
    default: '/migrations',
    meaning: 'Folder that holds the migration files.',
  },
  format: {
    flag: 'migrations-format',
    env: 'MIGRATIONS_FORMAT',
    kind: choice('auto', ...migrationFormats),
    default: 'auto',
    meaning: 'Whose file names and markers the folder uses; auto tells them apart by the names.',
  },
  placeholders: {
    flag: 'placeholder',
    env: 'MIGRATIONS_PLACEHOLDERS',
    kind: list('NAME=VALUE'),
    default: [],
    defaultMeaning: 'none',
    meaning: 'Values of the placeholders in Flyway files; the one word off leaves them in the text.',
  },
} as const satisfies SettingTable;

/** What the history may differ in from the folder. */
export const historySettingTable = {
  ahead: {
    flag: 'migrations-ahead',
    env: 'MIGRATIONS_AHEAD',
    kind: choice('warn', 'fail'),
    default: 'warn',
    meaning:
      'When the database has newer migrations than the folder, as after a rollback of the image: go on, or fail.',
  },
} as const satisfies SettingTable;

/** How statements are run. */
export const executionSettingTable = {
  lockTimeoutSeconds: {
    flag: 'lock-timeout-seconds',
    env: 'MIGRATIONS_LOCK_TIMEOUT_SECONDS',
    kind: integer(1, 3600, 'SECONDS'),
    default: 10,
    meaning:
      'How long one statement waits for locks of other sessions; meanwhile it makes others wait, so keep it short.',
  },
  lockRetries: {
    flag: 'lock-retries',
    env: 'MIGRATIONS_LOCK_RETRIES',
    kind: integer(0, 1000),
    default: 5,
    meaning:
      'How often a statement that did not get its locks is tried again, with growing pauses that let others through.',
  },
  budgetRows: {
    flag: 'ddl-budget-rows',
    env: 'MIGRATIONS_DDL_BUDGET_ROWS',
    kind: integer(0, 999_999_999_999, 'ROWS'),
    defaultMeaning: 'no limit',
    meaning: 'Refuse an ALTER TABLE that would copy a table of more rows than this.',
  },
} as const satisfies SettingTable;

/** What every verb that talks to the database has. */
export const connectionSettingTable = {
  ...databaseSettingTable,
  ...folderSettingTable,
} as const satisfies SettingTable;

/** What every verb that writes has. */
export const writingSettingTable = {
  ...connectionSettingTable,
  ...lockSettingTable,
  ...triggerSettingTable,
} as const satisfies SettingTable;
