import * as z from 'zod/mini';
import { serviceError } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import { keyIdOf } from '../security/keyring.ts';
import { askerOf, idSchema, pageLimit } from './common.ts';
import type { ArchivalRecord } from './record-rows.ts';
import { type RecordView, recordBodySchema, recordViewSchema } from './record-schema.ts';

const tag = 'Archival configuration';
const path = '/api/v1/config/archival';
const params = z.strictObject({ id: idSchema });
const conflict = { description: 'The table is archived by another record, or by the configuration file.' };
const versioned = {
  412: { description: 'It is another version by now.' },
  428: { description: 'If-Match is missing.' },
};

export const recordRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path,
    summary: 'Records, oldest first.',
    tag,
    access: 'viewer',
    query: z.strictObject({ after: z.optional(idSchema), limit: z.optional(pageLimit) }),
    responses: {
      200: {
        description: 'A page; `next` is the `after` of the next one.',
        schema: z.strictObject({ items: z.array(recordViewSchema), next: z.nullable(z.string()) }),
      },
    },
    async handle({ query, service }) {
      const limit = Number(query.limit ?? 100);
      const records = await service.records.list({ after: query.after ?? '0', limit });
      return {
        body: { items: records.map(viewOf), next: records.length < limit ? null : (records.at(-1)?.id ?? null) },
      };
    },
  }),
  route({
    method: 'POST',
    path,
    summary: 'Archives a table by a record of its own.',
    tag,
    access: 'admin',
    body: recordBodySchema,
    responses: {
      201: { description: 'The record; ETag has its version.', schema: recordViewSchema },
      409: conflict,
    },
    async handle({ body, principal, service }) {
      const record = await service.records.create(body, askerOf(principal));
      return { status: 201, headers: { etag: etagOf(record), location: `${path}/${record.id}` }, body: viewOf(record) };
    },
  }),
  route({
    method: 'GET',
    path: `${path}/:id`,
    summary: 'One record, without its passwords.',
    tag,
    access: 'viewer',
    params,
    responses: { 200: { description: 'The record; ETag has its version.', schema: recordViewSchema } },
    async handle({ params: { id }, service }) {
      const record = await service.records.find(id);
      return { headers: { etag: etagOf(record) }, body: viewOf(record) };
    },
  }),
  route({
    method: 'PUT',
    path: `${path}/:id`,
    summary: 'Replaces a record, if it is the version that If-Match names. Passwords that are left out stay.',
    tag,
    access: 'admin',
    params,
    body: recordBodySchema,
    responses: {
      200: { description: 'The record as it is now.', schema: recordViewSchema },
      409: conflict,
      ...versioned,
    },
    async handle({ params: { id }, body, principal, request, service }) {
      const version = versionOf(request.headers['if-match']);
      const record = await service.records.update(id, body, version, askerOf(principal));
      return { headers: { etag: etagOf(record) }, body: viewOf(record) };
    },
  }),
  route({
    method: 'DELETE',
    path: `${path}/:id`,
    summary: 'Deletes a record, if it is the version that If-Match names. What it archived stays where it is.',
    tag,
    access: 'admin',
    params,
    responses: { 204: { description: 'It is gone.' }, ...versioned },
    async handle({ params: { id }, principal, request, service }) {
      await service.records.remove(id, versionOf(request.headers['if-match']), askerOf(principal));
      return { status: 204 };
    },
  }),
];

/** The version that a request is about; null: any. @throws AppError SERVICE_PRECONDITION_REQUIRED, SERVICE_REQUEST_INVALID */
function versionOf(header: string | undefined): string | null {
  if (header === undefined)
    throw serviceError('SERVICE_PRECONDITION_REQUIRED', 'a record is changed and deleted with If-Match alone');
  if (header.trim() === '*') return null;
  const version = /^\s*"(\d{1,20})"\s*$/.exec(header)?.[1];
  if (version !== undefined) return version;
  throw serviceError('SERVICE_REQUEST_INVALID', 'If-Match takes one ETag as GET gives it, such as "3", or *');
}

function etagOf({ version }: ArchivalRecord): string {
  return `"${version}"`;
}

function viewOf({ settings: each, ...record }: ArchivalRecord): RecordView {
  const sealed = [record.primaryPassword, record.archivalPassword].flatMap((text) => (text === null ? [] : [text]));
  return {
    id: record.id,
    version: record.version,
    primary_db_host: each.primary_db_host ?? null,
    primary_db_port: each.primary_db_port ?? null,
    primary_db_name: each.primary_db_name ?? null,
    primary_db_user: each.primary_db_user ?? null,
    primary_db_password_set: record.primaryPassword !== null,
    primary_db_tls: each.primary_db_tls ?? null,
    archival_db_host: each.archival_db_host ?? null,
    archival_db_port: each.archival_db_port ?? null,
    archival_db_name: each.archival_db_name ?? null,
    archival_db_user: each.archival_db_user ?? null,
    archival_db_password_set: record.archivalPassword !== null,
    archival_db_tls: each.archival_db_tls ?? null,
    archival_db_accept_not_durable: each.archival_db_accept_not_durable ?? null,
    store: each.store ?? null,
    table_name: each.table_name,
    date_column: each.date_column,
    date_type: each.date_type,
    date_zone: each.date_zone ?? null,
    archival_days: each.archival_days,
    deletion_days: each.deletion_days ?? null,
    enabled: each.enabled,
    archive_table: each.archive_table ?? null,
    children: each.children,
    where: each.where,
    evolve: each.evolve,
    delete_delay: each.delete_delay,
    allow_delete_triggers: each.allow_delete_triggers,
    password_key_ids: [...new Set(sealed.map(keyIdOf))],
    created_at: record.createdAt,
    created_by: record.createdBy,
    updated_at: record.updatedAt,
    updated_by: record.updatedBy,
  };
}
