import { databaseSettingTable, lockSettingTable, triggerSettingTable } from '@tableset/common/settings/database.ts';
import { integer, list, path, toggle } from '@tableset/common/settings/kinds.ts';
import type { SettingTable } from '@tableset/common/settings/settings.ts';

/** Where the configuration file is; every verb that reads it has this. */
export const configSettingTable = {
  config: {
    flag: 'config',
    env: 'CONFIG_FILE',
    kind: path(),
    default: '/config/config.yaml',
    meaning: 'YAML file that says which tables are loaded from where.',
  },
} as const satisfies SettingTable;

/** Settings of `loader load`. */
export const loadSettingTable = {
  ...configSettingTable,
  table: {
    flag: 'table',
    kind: list('TABLE'),
    defaultMeaning: 'all',
    meaning: 'Only these tables of the file; may be given several times.',
  },
  ifChanged: {
    flag: 'if-changed',
    env: 'LOAD_IF_CHANGED',
    kind: toggle(),
    default: false,
    meaning: 'Do nothing for tables whose source, settings and definition are as they were at the last load.',
  },
  dryRun: {
    flag: 'dry-run',
    kind: toggle(),
    default: false,
    meaning: 'Show exactly what would change, and write nothing.',
  },
  temporaryDirectory: {
    flag: 'temporary-directory',
    env: 'TMPDIR',
    kind: path('FOLDER'),
    default: '/tmp',
    meaning: 'Folder for copies of sources that must be read in pieces.',
  },
  ...triggerSettingTable,
  ...databaseSettingTable,
  ...lockSettingTable,
} as const satisfies SettingTable;

/** Settings of `loader archive`. */
export const archiveSettingTable = {
  ...configSettingTable,
  table: {
    flag: 'table',
    kind: list('TABLE'),
    defaultMeaning: 'all',
    meaning: 'Only these tables of the file; may be given several times.',
  },
  dryRun: {
    flag: 'dry-run',
    kind: toggle(),
    default: false,
    meaning: 'Show exactly what would be archived, and write nothing.',
  },
  shards: {
    flag: 'shards',
    env: 'ARCHIVE_SHARDS',
    kind: integer(1, 1024),
    defaultMeaning: 'one run alone',
    meaning:
      'Be one of several workers: the first cuts each table into so many shards, and all of them work these off.',
  },
  ...triggerSettingTable,
  ...databaseSettingTable,
  ...lockSettingTable,
} as const satisfies SettingTable;
