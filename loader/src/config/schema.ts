import { databaseSettingTable, lockSettingTable } from '@tableset/common/settings/database.ts';
import type { SettingTable } from '@tableset/common/settings/settings.ts';
import * as z from 'zod/mini';
import { described, identifier, nonEmpty, whole, word } from './kinds.ts';
import { loadEntrySchema } from './load-schema.ts';

/*
 * The declaration of the configuration file, with archive-schema.ts: checking it, its JSON Schema and docs/configuration.md all come from here.
 * It is written with zod/mini: bundled and imported, that costs 2 ms of a process where zod costs 10, out of about 100 for the
 * whole start of an init container.
 */

/** The keys of the file that a table of settings reads, as optional schemas: their defaults apply after flags and environment had their turn. */
function fileKeys(table: SettingTable, section: string): Record<string, z.ZodMiniType> {
  const prefix = section === '' ? '' : `${section}.`;
  const keys: Record<string, z.ZodMiniType> = {};
  for (const setting of Object.values(table)) {
    const name = setting.file?.startsWith(prefix) ? setting.file.slice(prefix.length) : undefined;
    if (name === undefined || name.includes('.')) continue;
    // A wrapper of its own carries the meaning, since settings may share the schema of their kind.
    keys[name] = described(z.optional(setting.kind.schema), setting.meaning, setting.default);
  }
  return keys;
}

/** How another server is reached and logged in to. */
export const serverKeys = {
  host: nonEmpty('Host name or address of the server.'),
  port: z._default(whole(1, 65535, 'Port of the server.'), 3306),
  user: nonEmpty('Account to log in with; reading rights are enough.'),
  passwordFile: z.optional(nonEmpty('File that holds the password.')),
  passwordEnv: z.optional(nonEmpty('Name of the environment variable that holds the password.')),
  name: nonEmpty('Schema that the queries read.'),
  tls: z._default(
    word(
      ['disable', 'require', 'verify'],
      'disable: plain; require: encrypted, any certificate; verify: certificate and host name are checked.',
    ),
    'disable',
  ),
  tlsCaFile: z.optional(nonEmpty('PEM file of the authorities to trust with tls: verify.')),
};

const otherDatabaseSchema = z.strictObject(serverKeys);

const webhookSchema = z.strictObject({
  url: nonEmpty('Address that a POST request tells of each change; https, or http with allowHttp.'),
  secretFile: nonEmpty('File that holds the secret which signs each request.'),
  allowHttp: z._default(
    described(z.boolean(), 'Allows an address that starts with http://; a warning is logged.'),
    false,
  ),
  tables: z.optional(
    described(
      z.array(identifier('A table of this file.')).check(z.minLength(1)),
      'Only changes of these tables are told; all by default.',
    ),
  ),
  timeoutSeconds: z._default(whole(1, 120, 'How long one attempt may take.'), 5),
  attempts: z._default(
    whole(1, 20, 'How often one notice is tried, with growing pauses, before a warning is logged.'),
    4,
  ),
});

/** How an S3 server is reached. */
export const s3Keys = {
  endpoint: z.optional(nonEmpty("Address of the server, for stores other than Amazon's.")),
  region: z.optional(nonEmpty('Region of the buckets; AWS_REGION by default.')),
  accessKeyIdFile: z.optional(
    nonEmpty(
      "File that holds the access key's id. Without it the usual AWS chain is used: environment, web identity, instance.",
    ),
  ),
  secretAccessKeyFile: z.optional(nonEmpty('File that holds the secret access key.')),
  sessionTokenFile: z.optional(nonEmpty('File that holds the session token of temporary credentials.')),
  forcePathStyle: z._default(
    described(
      z.boolean(),
      'Puts the bucket into the path instead of the host name, as most stores other than Amazon need.',
    ),
    false,
  ),
};

const s3Schema = z.strictObject(s3Keys);

/** A file that only loads. Sections that are not listed here are those of archives, or refused by name. */
export const loadConfigSchema = z.strictObject({
  database: z.optional(
    described(
      z.strictObject(fileKeys(databaseSettingTable, 'database')),
      'The database to load into. Flags and environment go before what stands here.',
    ),
  ),
  ...fileKeys(lockSettingTable, ''),
  load: described(z.array(loadEntrySchema).check(z.minLength(1)), 'The tables to load and where their rows come from.'),
  databases: z._default(
    described(
      z.record(nonEmpty('Name for sources to refer to.'), otherDatabaseSchema),
      'Other databases that sources query, by name.',
    ),
    {},
  ),
  s3: z._default(described(s3Schema, 'How s3:// sources are reached.'), { forcePathStyle: false }),
  webhooks: z._default(described(z.array(webhookSchema), 'Who is told when a table changed.'), []),
});

export type OtherDatabase = z.output<typeof otherDatabaseSchema>;
export type WebhookSettings = z.output<typeof webhookSchema>;
export type S3Settings = z.output<typeof s3Schema>;
