import * as z from 'zod/mini';
import { deletionLimit, described, identifier, nonEmpty, whole, word } from './kinds.ts';
import { loadConfigSchema, s3Keys, serverKeys } from './schema.ts';

/*
 * The sections `archive:`, `stores:` and `limits:`. Making their schemas costs about as much as making all the others, which a start that only loads
 * should not pay for: they are made at first use.
 */

const durationPattern = /^(?=\d)(?:\d{1,6}d)?(?:\d{1,6}h)?(?:\d{1,7}m)?(?:\d{1,8}s)?$/;
const windowPattern = /^(?:[01]\d|2[0-3]):[0-5]\d-(?:[01]\d|2[0-3]):[0-5]\d(?: \S+)?$/;

/** Seconds of a text that `durationPattern` takes. */
export function durationSeconds(text: string): number {
  const seconds: Readonly<Record<string, number>> = { d: 86_400, h: 3600, m: 60, s: 1 };
  return [...text.matchAll(/(\d+)([dhms])/g)].reduce(
    (sum, [, n, unit]) => sum + Number(n) * (seconds[unit ?? ''] ?? 0),
    0,
  );
}

function duration(meaning: string) {
  return described(z.string().check(z.regex(durationPattern, 'takes a duration such as 2h, 90m or 1h30m')), meaning);
}

function flag(meaning: string) {
  return z._default(described(z.boolean(), meaning), false);
}

export type ArchiveSchemas = ReturnType<typeof build>;
export type ArchiveEntryFile = z.output<ArchiveSchemas['entry']>;
export type StoreFile = z.output<ArchiveSchemas['store']>;
export type LimitsFile = z.output<ArchiveSchemas['limits']>;
export type ConfigFile = z.output<ArchiveSchemas['file']>;

let built: ArchiveSchemas | undefined;

/** The schemas of one entry of `archive:`, of one store, of the limits, and of the file with all of its sections. */
export function archiveSchemas(): ArchiveSchemas {
  built ??= build();
  return built;
}

function build() {
  const entry = entrySchema();
  const store = storeSchema();
  const limits = limitsSchema();
  const { load, databases, s3, webhooks, ...first } = loadConfigSchema.shape;
  const file = z.strictObject({
    ...first,
    // One of load and archive is there; that is seen to where the file is read.
    load: z.optional(load),
    archive: z.optional(
      described(
        z.array(entry).check(z.minLength(1)),
        'The tables whose old rows are moved to a store, and when the store lets them go.',
      ),
    ),
    stores: z._default(
      described(
        z.record(
          described(
            z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)),
            'Name for archive entries to refer to.',
          ),
          store,
        ),
        'Where archived rows live, by name. Each has one kind.',
      ),
      {},
    ),
    limits: z.optional(
      described(
        limits,
        'What archive, purge and restore may ask of the database, and when. The window is not for restore.',
      ),
    ),
    databases,
    s3,
    webhooks,
  });
  return { entry, store, limits, file };
}

const conditionOperators = ['=', '!=', '<', '<=', '>', '>=', 'in', 'not in', 'is null', 'is not null'] as const;

function entrySchema() {
  return z.strictObject({
    table: identifier('The table whose rows are archived.'),
    dateColumn: identifier('The column that tells the age of a row.'),
    dateType: z._default(
      word(
        ['date', 'epoch-seconds', 'epoch-milliseconds'],
        'What the column holds: its own date type, or seconds or milliseconds since 1970 as an integer.',
      ),
      'date',
    ),
    dateZone: z.optional(
      described(
        z.string().check(z.minLength(1)),
        'Zone of the wall clock that a DATE or DATETIME column shows, such as Europe/Berlin.',
        'UTC',
      ),
    ),
    archiveAfterDays: whole(0, 36_500, 'Rows older than this are archived, in days of 24 hours.'),
    deleteAfterDays: z.optional(
      whole(
        0,
        36_500,
        'Archived rows older than this are purged, in days since their date; without it they are kept for ever.',
      ),
    ),
    enabled: z._default(described(z.boolean(), 'false leaves the table out of archive and purge.'), true),
    store: nonEmpty('The store, by its name under `stores`.'),
    archiveTable: z.optional(identifier("Name in the store; the table's own by default.")),
    children: z._default(
      described(
        z.array(z.union([identifier('A table.'), childSchema()])),
        'Tables whose rows go along with the rows that they refer to, at any depth; a text is short for {table: text}.',
      ),
      [],
    ),
    where: z._default(
      described(z.array(conditionSchema()), 'What must hold for a row beside its age: all of these.'),
      [],
    ),
    evolve: z._default(
      word(
        ['refuse', 'add-columns'],
        'What happens when the table has columns that its archive lacks: the run ends before it copies, or the archive gets them.',
      ),
      'refuse',
    ),
    deleteDelay: z._default(duration('Time between a proved copy and the delete, such as 30m.'), '0s'),
    allowDeleteTriggers: flag(
      'Archives although delete triggers of the table fire; without it such a table is refused.',
    ),
  });
}

function childSchema() {
  return z.strictObject({
    table: identifier('The table.'),
    on: z.optional(
      described(
        z.record(identifier('A column of the child.'), identifier('A column of its parent.')),
        'Child column: parent column, where no foreign key says it.',
      ),
    ),
    when: z.optional(
      described(
        z.strictObject({
          column: identifier("A column of the parent's."),
          atMost: z.optional(described(z.number(), 'Most that the column may hold.')),
          atLeast: z.optional(described(z.number(), 'Least that the column may hold.')),
        }),
        'Only the rows of parents for which this holds are archived.',
      ),
    ),
    resolutionSeconds: z.optional(
      whole(1, 31_536_000, 'Archives one row for each parent and interval of this length, the first.'),
    ),
    dateColumn: z.optional(identifier('The date column that resolutionSeconds goes by, where the table has several.')),
    leftOut: z.optional(
      described(
        z.enum(['keep', 'drop']),
        'What happens with rows that when or resolutionSeconds leave out: keep: they stay, and their parents too; drop: they are deleted without a copy, and counted.',
        'keep',
      ),
    ),
    archiveTable: z.optional(identifier("Name in the store; the table's own by default.")),
  });
}

function conditionSchema() {
  return z.strictObject({
    column: identifier('A column of the table.'),
    operator: z._default(word(conditionOperators, 'How they compare. Quote those that start with ! or >.'), '='),
    value: z.optional(
      described(
        z.union([
          z.string(),
          z.number(),
          z.boolean(),
          z.array(z.union([z.string(), z.number()])).check(z.minLength(1), z.maxLength(1000)),
        ]),
        'What to compare with; a list for in and not in, nothing for is null and is not null. Quote numbers whose digits matter.',
      ),
    ),
  });
}

const fileKeys = () => ({
  format: z._default(word(['parquet', 'jsonl'], 'Format of the files.'), 'parquet'),
  compression: z._default(word(['zstd', 'gzip'], 'How they are compressed.'), 'zstd'),
});

function storeSchema() {
  const { passwordFile, passwordEnv, tlsCaFile } = serverKeys;
  const mysql = z.strictObject({
    host: z.optional(
      nonEmpty("Host name or address of the archive's server; without it the primary's own server and account."),
    ),
    // Their defaults are filled in later: without a host, whatever of these the file gives is refused.
    port: z.optional(described(z.int().check(z.gte(1), z.lte(65_535)), 'Port of the server.', 3306)),
    user: z.optional(nonEmpty('Account to log in with; with a host it is required.')),
    passwordFile,
    passwordEnv,
    name: identifier('Schema that holds the archive tables; it must exist.'),
    tls: z.optional(
      described(
        z.enum(['disable', 'require', 'verify']),
        'disable: plain; require: encrypted, any certificate; verify: certificate and host name are checked.',
        'disable',
      ),
    ),
    tlsCaFile,
    acceptNotDurable: flag(
      'Accepts a server that may forget what it acknowledged: innodb_flush_log_at_trx_commit, or sync_binlog where it logs, other than 1.',
    ),
  });
  return z.strictObject({
    mysql: z.optional(described(mysql, 'Tables in MySQL or MariaDB, on the same server or another.')),
    filesystem: z.optional(
      described(
        z.strictObject({ path: nonEmpty('Folder of the files, relative to the folder of this file.'), ...fileKeys() }),
        'Files in a folder.',
      ),
    ),
    s3: z.optional(
      described(
        z.strictObject({
          bucket: described(z.string().check(z.regex(/^[^/\s:@]{1,255}$/)), 'The bucket; it must exist.'),
          prefix: z._default(described(z.string(), 'What the keys of all objects start with.'), ''),
          ...s3Keys,
          ...fileKeys(),
        }),
        'Objects in a bucket. It is reached as stands here; the section `s3` is for sources.',
      ),
    ),
    sqlite: z.optional(
      described(
        z.strictObject({ path: nonEmpty('The database file, relative to the folder of this file.') }),
        'Tables in one SQLite file.',
      ),
    ),
  });
}

function limitsSchema() {
  const seconds = (meaning: string) => z.optional(whole(1, 86_400, meaning));
  return z.strictObject({
    batchRows: z._default(whole(1, 1_000_000, 'Rows of the table in the first batch, and most in any.'), 2000),
    targetBatchSeconds: z._default(
      described(
        z.number().check(z.gte(0.01), z.lte(60)),
        'How long the transaction of a batch should take; its size adapts.',
      ),
      0.5,
    ),
    niceRatio: z._default(
      described(
        z.number().check(z.gte(0), z.lte(100)),
        'Pause after each batch, in times of what it took: 0 goes on at once, 1 leaves the server half of the time, 4 leaves it four fifths.',
      ),
      0,
    ),
    parallelBatches: z._default(
      whole(1, 16, "Batches under way at once where the archive lies on the primary's own server."),
      2,
    ),
    maxRuntime: z.optional(
      duration('Longest that a run goes on, such as 2h; it ends after a batch, with exit 1 if rows are left.'),
    ),
    window: z.optional(
      described(
        z.string().check(z.regex(windowPattern, 'takes times of day and a zone, such as 01:00-05:00 Europe/Berlin')),
        'Times of day between which runs work, and their zone, UTC by default: 01:00-05:00 Europe/Berlin.',
      ),
    ),
    maxReplicaLagSeconds: seconds('A run waits while a replica is further behind.'),
    replicas: z._default(
      described(
        z.array(
          z.strictObject({
            host: nonEmpty('Host name or address of the replica.'),
            port: z._default(whole(1, 65_535, 'Port of the replica.'), 3306),
          }),
        ),
        "Replicas whose lag is watched. The primary's account logs in.",
      ),
      [],
    ),
    maxThreadsRunning: z.optional(whole(1, 100_000, 'A run waits while more statements than this run on the server.')),
    maxDeletes: deletionLimit(
      "the tables'",
      'Deletion budget of one run over all of its tables. Both hold where both are given; no limit by default.',
    ),
  });
}
