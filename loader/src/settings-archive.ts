import { databaseSettingTable, lockSettingTable, triggerSettingTable } from '@tableset/common/settings/database.ts';
import { integer, type Kind, list, text, toggle } from '@tableset/common/settings/kinds.ts';
import type { SettingTable } from '@tableset/common/settings/settings.ts';
import * as z from 'zod/mini';
import { configSettingTable } from './settings.ts';

/** Texts that are kept whole, commas included; given again and again. */
function texts(placeholder: string, takes: string): Kind<readonly string[]> {
  return {
    takes,
    placeholder,
    schema: z.readonly(z.array(z.string().check(z.regex(/^[^=]+=/)))),
    fromText: (value) => [value],
  };
}

const batchKind: Kind<string> = {
  ...text('ID'),
  takes: 'the number of a batch',
  schema: z.string().check(z.regex(/^\d{1,20}$/)),
};

/** What archive, purge, restore, verify and status have in common. */
export const archiveBaseSettingTable = {
  ...configSettingTable,
  table: {
    flag: 'table',
    kind: list('TABLE'),
    defaultMeaning: 'all',
    meaning: 'Only these tables of the file, each with its children; may be given several times.',
  },
  ...databaseSettingTable,
} as const satisfies SettingTable;

/** What those of them have in common that write. */
export const archiveRunSettingTable = {
  ...archiveBaseSettingTable,
  ...triggerSettingTable,
  ...lockSettingTable,
} as const satisfies SettingTable;

export const archiveDryRunSettingTable = {
  dryRun: {
    flag: 'dry-run',
    kind: toggle(),
    default: false,
    meaning: 'Show exactly what would be done, and write nothing.',
  },
} as const satisfies SettingTable;

/** Settings of `loader purge`. */
export const purgeSettingTable = {
  ...archiveRunSettingTable,
  ...archiveDryRunSettingTable,
} as const satisfies SettingTable;

const periodSettingTable = {
  from: {
    flag: 'from',
    kind: text('DATE'),
    meaning: 'Rows dated at or after this, in UTC: 2025-03-01 or 2025-03-01T08:30:00.',
  },
  to: {
    flag: 'to',
    kind: text('DATE'),
    meaning: 'Rows dated before this, in UTC; a date alone is its midnight, so that its own day is not in.',
  },
} as const satisfies SettingTable;

/** Settings of `loader restore`. */
export const restoreSettingTable = {
  ...archiveRunSettingTable,
  ...archiveDryRunSettingTable,
  table: {
    flag: 'table',
    kind: text('TABLE'),
    required: true,
    meaning: 'Table of the file whose rows are to come back, with their children.',
  },
  where: {
    flag: 'where',
    kind: texts('KEY=VALUE', 'COLUMN=VALUE'),
    meaning: 'Rows with this value in this column; given several times, all of them must hold.',
  },
  ...periodSettingTable,
  batch: {
    flag: 'batch',
    kind: batchKind,
    meaning: 'Rows of this batch alone.',
  },
  into: {
    flag: 'into',
    kind: text('TABLE'),
    defaultMeaning: 'the table that they came from',
    meaning:
      'Another table of the schema for the rows, made like the first one if it is not there. Children stay in the archive.',
  },
  overwrite: {
    flag: 'overwrite',
    kind: toggle(),
    default: false,
    meaning: 'Put archived rows in the place of rows that differ from them, instead of refusing.',
  },
  allowTriggers: {
    flag: 'allow-triggers',
    kind: toggle(),
    default: false,
    meaning: 'Restore although triggers of the table would fire.',
  },
} as const satisfies SettingTable;

/** Settings of `loader verify`. */
export const verifySettingTable = {
  ...archiveRunSettingTable,
  batch: {
    flag: 'batch',
    kind: batchKind,
    defaultMeaning: 'all',
    meaning: 'Only this batch.',
  },
  drill: {
    flag: 'drill',
    kind: toggle(),
    default: false,
    meaning: 'Restore a sample of batches into scratch tables, compare every row, and drop them.',
  },
  sample: {
    flag: 'sample',
    kind: integer(1, 1000),
    default: 3,
    meaning: 'Batches of each table that --drill restores: the oldest, the newest, others by lot.',
  },
  drillSchema: {
    flag: 'drill-schema',
    env: 'DRILL_SCHEMA',
    kind: text('SCHEMA'),
    defaultMeaning: "the primary's own",
    meaning: 'Schema on the primary for the scratch tables of --drill.',
  },
} as const satisfies SettingTable;

/** Settings of `loader status`. */
export const statusSettingTable = {
  ...archiveBaseSettingTable,
  key: {
    flag: 'key',
    kind: texts('KEY=VALUE', 'COLUMN=VALUE'),
    meaning: 'Which batches hold rows with this value; given several times, all of them must hold.',
  },
  ...periodSettingTable,
  unverified: {
    flag: 'unverified',
    kind: toggle(),
    default: false,
    meaning: 'Only batches that have not been proved since they were written.',
  },
} as const satisfies SettingTable;
