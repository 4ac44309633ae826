import type { Dialect } from '../core/encoded-rows.ts';
import { mappingFault } from '../core/mapping-faults.ts';
import type { TableMapping } from '../core/mapping-types.ts';
import type { ArchiveConfig } from './archive-config.ts';
import type { ConfigFile } from './archive-schema.ts';
import { defaultMaxDeletes, type LoadEntryFile } from './load-schema.ts';
import type { OtherDatabase, S3Settings, WebhookSettings } from './schema.ts';
import {
  endingName,
  type Format,
  formatByEnding,
  fromDirectory,
  type SourceSettings,
  sourceSettings,
} from './source-settings.ts';

/** One table of `load:`, checked, with defaults filled in and paths resolved. */
export interface LoadTable
  extends Omit<
    LoadEntryFile,
    'source' | 'format' | 'csv' | 'key' | 'columns' | 'ignore' | 'ignoreUnknown' | 'maxDeletes'
  > {
  readonly source: SourceSettings;
  /** Null for queries, which give rows rather than text. */
  readonly format: Format | null;
  /** What `csv:` says; parts that are missing mean the format's own. */
  readonly dialect: Dialect;
  /** Null: the primary key. */
  readonly key: readonly string[] | null;
  readonly mapping: TableMapping;
  /** Null: no limit of this kind. */
  readonly maxDeletes: { readonly rows: number | null; readonly percent: number | null };
  /** `file:line:column` of the entry, for messages. */
  readonly position: string;
}

/** A configuration file that was read and found good. */
export interface LoadConfig extends ArchiveConfig {
  readonly path: string;
  /** The whole file as plain values, for settings that flags and environment go before; paths under `database` are resolved. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Empty where the file only archives. */
  readonly load: readonly LoadTable[];
  readonly databases: Readonly<Record<string, OtherDatabase>>;
  readonly s3: S3Settings;
  readonly webhooks: readonly WebhookSettings[];
}

/** The sections that every file may have; one that only loads has no others. */
export type Sections = Pick<ConfigFile, 'load' | 'databases' | 's3' | 'webhooks'>;

/** Something that fits the schema and still cannot be meant. */
export interface Complaint {
  readonly path: readonly (string | number)[];
  readonly message: string;
  /** The key itself is wrong rather than its value, so the position is the key's. */
  readonly atKey?: boolean;
}

/** Completes one entry of `load:`, or says what is wrong with it. Complaints' paths start at the entry. */
export function loadTable(
  entry: LoadEntryFile,
  directory: string,
  databases: readonly string[] | null,
): Omit<LoadTable, 'position'> | readonly Complaint[] {
  const source = sourceSettings(entry.source, directory);
  if ('problem' in source) {
    return [{ path: source.key === undefined ? ['source'] : ['source', source.key], message: source.problem }];
  }
  const name = endingName(source);
  const format = source.kind === 'query' ? null : (entry.format ?? formatByEnding(name ?? ''));
  const complaints = [...sourceComplaints(entry, source, format, databases), ...otherComplaints(entry)];
  if (complaints.length > 0) return complaints;
  const { source: _source, csv, columns, ignore, ignoreUnknown, maxDeletes: _guards, ...rest } = entry;
  const guards: NonNullable<LoadEntryFile['maxDeletes']> = entry.maxDeletes ?? defaultMaxDeletes;
  return {
    ...rest,
    source,
    format,
    dialect: dialectOf(csv),
    key: entry.key ?? null,
    mapping: { columns: columnMappings(columns), ignore, ignoreUnknown },
    maxDeletes: { rows: guards.rows ?? null, percent: guards.percent ?? null },
  };
}

/** The encoding is left out: UTF-8 is the only one there is. */
function dialectOf({ encoding: _encoding, ...dialect }: NonNullable<LoadEntryFile['csv']> = {}): Dialect {
  // Optional keys that are missing are left out by zod, never present as undefined.
  return dialect as Dialect;
}

function columnMappings(columns: LoadEntryFile['columns']): NonNullable<TableMapping['columns']> {
  const mappings = Object.entries(columns).map(([column, mapping]) => [
    column,
    typeof mapping === 'string' ? { from: mapping } : mapping,
  ]);
  // Optional keys that are missing are left out by zod, never present as undefined.
  return Object.fromEntries(mappings) as NonNullable<TableMapping['columns']>;
}

function sourceComplaints(
  entry: LoadEntryFile,
  source: SourceSettings,
  format: Format | null,
  databases: readonly string[] | null,
): Complaint[] {
  const complaints: Complaint[] = [];
  if (source.kind === 'query') {
    if (entry.format) complaints.push({ path: ['format'], message: 'a query has no format', atKey: true });
    if (databases && !databases.includes(source.from)) {
      const known = databases.length > 0 ? `there are: ${databases.join(', ')}` : 'there are none';
      complaints.push({
        path: ['source', 'from'],
        message: `no database of the name ${source.from} under databases; ${known}`,
      });
    }
  } else if (format === null) {
    complaints.push({
      path: ['source'],
      message: 'its ending tells no format; set format to csv, tsv, jsonl, json or parquet',
    });
  }
  if (entry.csv && format !== 'csv' && format !== 'tsv') {
    complaints.push({
      path: ['csv'],
      message: `is for the formats csv and tsv; this one is ${format ?? 'a query'}`,
      atKey: true,
    });
  }
  for (const key of ['delimiter', 'quote'] as const) {
    if (format === 'tsv' && entry.csv?.[key] !== undefined) {
      complaints.push({ path: ['csv', key], message: 'is for csv alone; tsv has tabs and no quotes', atKey: true });
    }
  }
  return complaints;
}

function otherComplaints(entry: LoadEntryFile): Complaint[] {
  const complaints: Complaint[] = [];
  if (entry.maxDeletes && entry.mode !== 'mirror') {
    complaints.push({
      path: ['maxDeletes'],
      message: `is for mode mirror; mode ${entry.mode} deletes nothing`,
      atKey: true,
    });
  }
  const repeated = entry.key?.find((column, index) => entry.key?.indexOf(column) !== index);
  if (repeated !== undefined) complaints.push({ path: ['key'], message: `names ${repeated} twice` });
  const { delimiter, quote } = entry.csv ?? {};
  if (delimiter !== undefined && delimiter === quote) {
    complaints.push({ path: ['csv', 'delimiter'], message: 'is the same as quote' });
  }
  for (const key of ['delimiter', 'quote'] as const) {
    if (entry.csv?.[key] === '\\') complaints.push({ path: ['csv', key], message: 'cannot be a backslash' });
  }
  const header = Array.isArray(entry.csv?.header) ? entry.csv.header : [];
  const twice = header.findIndex((field, index) => header.indexOf(field) !== index);
  if (twice >= 0) complaints.push({ path: ['csv', 'header', twice], message: `names ${header[twice]} twice` });
  for (const [column, mapping] of Object.entries(columnMappings(entry.columns))) {
    const fault = mappingFault(mapping, null);
    if (fault === null) continue;
    const path = fault.key === null ? ['columns', column] : ['columns', column, fault.key];
    complaints.push({ path, message: fault.message });
  }
  return complaints;
}

/** What is wrong with the sections other than `load:` and those of archives. */
export function sectionComplaints(file: Sections): Complaint[] {
  const complaints: Complaint[] = [];
  for (const [name, database] of Object.entries(file.databases))
    complaints.push(...serverComplaints(database, ['databases', name]));
  complaints.push(...s3Complaints(file.s3, ['s3']));
  const tables = (file.load ?? []).map((entry) => entry.table);
  for (const [index, webhook] of file.webhooks.entries()) {
    complaints.push(...addressComplaints(webhook.url, ['webhooks', index, 'url'], webhook.allowHttp));
    for (const [position, table] of (webhook.tables ?? []).entries()) {
      if (!tables.includes(table)) {
        complaints.push({
          path: ['webhooks', index, 'tables', position],
          message: `${table} is not among the tables of this file`,
        });
      }
    }
  }
  return complaints;
}

/** What is wrong with the way to a server. */
export function serverComplaints(
  server: Pick<OtherDatabase, 'passwordFile' | 'passwordEnv' | 'tls' | 'tlsCaFile'>,
  path: Complaint['path'],
): Complaint[] {
  const complaints: Complaint[] = [];
  if (server.passwordFile !== undefined && server.passwordEnv !== undefined) {
    complaints.push({
      path: [...path, 'passwordEnv'],
      message: 'passwordFile is given too; use one of them',
      atKey: true,
    });
  }
  if (server.tlsCaFile !== undefined && server.tls !== 'verify') {
    complaints.push({
      path: [...path, 'tlsCaFile'],
      message: `is for tls: verify; it is ${server.tls}`,
      atKey: true,
    });
  }
  return complaints;
}

/** What is wrong with the way to an S3 server. */
export function s3Complaints(s3: S3Settings, path: Complaint['path']): Complaint[] {
  const complaints: Complaint[] = [];
  if ((s3.accessKeyIdFile === undefined) !== (s3.secretAccessKeyFile === undefined)) {
    complaints.push({
      path,
      message: 'accessKeyIdFile and secretAccessKeyFile are given together or not at all',
    });
  }
  if (s3.endpoint !== undefined) complaints.push(...addressComplaints(s3.endpoint, [...path, 'endpoint'], true));
  return complaints;
}

function addressComplaints(address: string, path: Complaint['path'], httpAllowed: boolean): Complaint[] {
  if (!URL.canParse(address)) return [{ path, message: 'is not an address that can be read' }];
  const url = new URL(address);
  if (url.username !== '' || url.password !== '')
    return [{ path, message: 'holds a user or password, which would end up in logs' }];
  if (url.protocol === 'https:' || (url.protocol === 'http:' && httpAllowed)) return [];
  return [
    {
      path,
      message:
        url.protocol === 'http:' ? 'is plain http; use https or set allowHttp: true' : 'takes an https:// address',
    },
  ];
}

/** The sections other than `load:` and those of archives, with their paths resolved. */
export function resolvedSections(file: Sections, values: Readonly<Record<string, unknown>>, directory: string) {
  const resolved = <T extends object>(section: T): T => withPaths(section, directory);
  return {
    values: { ...values, ...(isRecord(values['database']) ? { database: resolved(values['database']) } : {}) },
    databases: Object.fromEntries(Object.entries(file.databases).map(([name, database]) => [name, resolved(database)])),
    s3: resolved(file.s3),
    webhooks: file.webhooks.map(resolved),
  };
}

/** Every key that ends in File holds a path. */
export function withPaths<T extends object>(section: T, directory: string): T {
  const entries = Object.entries(section).map(([key, value]) => [
    key,
    key.endsWith('File') && typeof value === 'string' ? fromDirectory(value, directory) : value,
  ]);
  // The same keys with values of the same types.
  return Object.fromEntries(entries) as T;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
