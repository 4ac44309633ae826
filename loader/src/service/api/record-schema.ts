import * as z from 'zod/mini';
import { archiveSchemas } from '../../config/archive-schema.ts';
import { described, identifier, nonEmpty, whole } from '../../config/kinds.ts';

const entry = archiveSchemas().entry.shape;

/** Null is as good as missing, so that what GET gives can be sent back. */
function optional<Schema extends z.ZodMiniType>(schema: Schema) {
  return z.optional(z.nullable(schema));
}

const host = described(z.string().check(z.regex(/^[A-Za-z0-9._:-]{1,255}$/)), 'Host name or address.');
const port = whole(1, 65_535, 'Port of the server.');
const user = described(z.string().check(z.minLength(1), z.maxLength(80)), 'Account to log in with.');
const password = described(
  z.string().check(z.maxLength(1024)),
  'Kept enciphered and never returned. Left out on PUT it stays, unless host, port, user or tls change.',
);
const tls = described(
  z.enum(['disable', 'require', 'verify']),
  'disable: plain; require: encrypted, any certificate; verify: certificate and host name are checked.',
  'disable',
);

/** One table's archival, as POST and PUT take it. */
export const recordBodySchema = z.strictObject({
  primary_db_host: optional(described(host, 'Server of the table; without it the one that the service works on.')),
  primary_db_port: optional(port),
  primary_db_name: optional(identifier('Schema of the table.')),
  primary_db_user: optional(user),
  primary_db_password: optional(password),
  primary_db_tls: optional(tls),
  archival_db_host: optional(described(host, "Server of the archive; without it the primary's own, and its account.")),
  archival_db_port: optional(port),
  archival_db_name: optional(identifier('Schema of the archive tables; this or `store`.')),
  archival_db_user: optional(user),
  archival_db_password: optional(password),
  archival_db_tls: optional(tls),
  archival_db_accept_not_durable: optional(
    described(z.boolean(), 'Accepts an archive server that may forget what it acknowledged.'),
  ),
  store: optional(nonEmpty('A store of the configuration file by its name; this or `archival_db_name`.')),
  table_name: entry.table,
  date_column: entry.dateColumn,
  date_type: entry.dateType,
  date_zone: optional(nonEmpty('Zone of the wall clock that a DATE or DATETIME column shows, such as Europe/Berlin.')),
  archival_days: entry.archiveAfterDays,
  deletion_days: optional(
    whole(0, 36_500, 'Archived rows older than this are purged, in days since their date; without it never.'),
  ),
  enabled: entry.enabled,
  archive_table: optional(identifier("Name in the store; the table's own by default.")),
  children: entry.children,
  where: entry.where,
  evolve: entry.evolve,
  delete_delay: entry.deleteDelay,
  allow_delete_triggers: entry.allowDeleteTriggers,
});
export type RecordBody = z.output<typeof recordBodySchema>;

const text = z.nullable(z.string());
const number = z.nullable(z.int());

/** As GET gives it: everything but passwords, of which it says only that there are some and which keys they are enciphered with. */
export const recordViewSchema = z.strictObject({
  id: z.string(),
  version: z.string(),
  primary_db_host: text,
  primary_db_port: number,
  primary_db_name: text,
  primary_db_user: text,
  primary_db_password_set: z.boolean(),
  primary_db_tls: text,
  archival_db_host: text,
  archival_db_port: number,
  archival_db_name: text,
  archival_db_user: text,
  archival_db_password_set: z.boolean(),
  archival_db_tls: text,
  archival_db_accept_not_durable: z.nullable(z.boolean()),
  store: text,
  table_name: z.string(),
  date_column: z.string(),
  date_type: z.string(),
  date_zone: text,
  archival_days: z.int(),
  deletion_days: number,
  enabled: z.boolean(),
  archive_table: text,
  children: z.array(z.unknown()),
  where: z.array(z.unknown()),
  evolve: z.string(),
  delete_delay: z.string(),
  allow_delete_triggers: z.boolean(),
  password_key_ids: z.array(z.string()),
  created_at: z.iso.datetime(),
  created_by: z.string(),
  updated_at: z.iso.datetime(),
  updated_by: z.string(),
});
export type RecordView = z.output<typeof recordViewSchema>;

/** What is kept of a body as it stands; passwords are kept apart. */
export type RecordSettings = Omit<RecordBody, 'primary_db_password' | 'archival_db_password'>;
