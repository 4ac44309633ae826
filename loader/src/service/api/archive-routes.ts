import * as z from 'zod/mini';
import type { ServiceContext } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import { idempotencyKeySchema, trigger, triggerAnswerSchema } from '../http/trigger.ts';
import { targetText } from '../run-rows.ts';
import type { RunSpec, RunTarget } from '../run-types.ts';
import { parseCursor } from './archive-cursor.ts';
import { filterOperators, parseFilters } from './archive-filter.ts';
import { knownPrincipal, pageLimit, targetSchema } from './common.ts';

const tag = 'Archive';
const table = z.string().check(z.minLength(1), z.maxLength(64));

const pageSchema = z.strictObject({
  table: z.string(),
  columns: z.array(
    z.strictObject({
      name: z.string(),
      type: z.string(),
      encoding: z.enum(['text', 'hex']),
      nullable: z.boolean(),
    }),
  ),
  items: z.array(
    z.strictObject({
      batch: z.string(),
      archivedAt: z.iso.datetime(),
      values: z.record(z.string(), z.nullable(z.string())),
    }),
  ),
  next: z.nullable(z.string()),
});

export const archiveRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/archive/:table',
    summary: `Archived rows of a table, in pages. Further parameters filter: COLUMN=OPERATOR:VALUE, with ${filterOperators.join(', ')}; where.COLUMN for columns called limit, cursor, target or store.`,
    tag,
    access: 'table',
    params: z.strictObject({ table }),
    query: z.catchall(
      z.object({
        limit: z.optional(pageLimit),
        cursor: z.optional(z.string().check(z.maxLength(8192))),
        target: z.optional(targetSchema),
        store: z.optional(z.string().check(z.minLength(1), z.maxLength(64))),
      }),
      z.union([z.string().check(z.maxLength(4096)), z.array(z.string().check(z.maxLength(4096)))]),
    ),
    responses: {
      200: {
        description:
          'A page; `next` is the `cursor` of the next one. It may be shorter than asked for, or empty, and still have a next one.',
        schema: pageSchema,
      },
    },
    async handle({ params, query: { limit, cursor, target: given, store, ...filters }, service, reply }) {
      const target = await archiveTarget(service, params.table, given, 'read');
      const question = {
        ...(await configOf(service, target)),
        table: params.table,
        store: store ?? null,
        filters: parseFilters(withoutPrefix(filters)),
        cursor: cursor === undefined ? null : parseCursor(cursor),
        limit: Number(limit ?? 50),
      };
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort(serviceError('SERVICE_REQUEST_INVALID', 'nobody waits for it')));
      const text = await service.calls.call<string>('archivePage', question, gone.signal);
      return { headers: { 'content-type': 'application/json; charset=utf-8' }, body: text };
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/archive/:table/:key',
    summary:
      'Archives one row with its children now, whatever its age. A key of several columns is a JSON list of texts: ["7","2"].',
    tag,
    access: 'operator',
    params: z.strictObject({ table, key: z.string().check(z.minLength(1), z.maxLength(512)) }),
    query: z.strictObject({ target: z.optional(targetSchema) }),
    responses: {
      202: { description: 'It waits its turn.', schema: triggerAnswerSchema },
      200: { description: 'The idempotency key was used before; this is its run.', schema: triggerAnswerSchema },
    },
    async handle({ params, query, principal, request, service }) {
      const target = await archiveTarget(service, params.table, query.target, 'archive');
      const header = request.headers['idempotency-key'];
      const key = header === undefined ? null : idempotencyKeySchema.safeParse(header);
      if (key && !key.success)
        throw serviceError(
          'SERVICE_REQUEST_INVALID',
          'Idempotency-Key takes 1 to 200 printable characters without blanks',
        );
      const order = {
        task: 'archive',
        target,
        tables: [params.table],
        options: { key: keyCells(params.key) },
        trigger: 'event',
        by: knownPrincipal(principal),
        idempotencyKey: key?.data ?? null,
      } as const;
      return await trigger(service, order, true);
    },
  }),
];

/** The cells of a key as the path has them. */
function keyCells(text: string): readonly string[] {
  if (!text.startsWith('[')) return [text];
  const fault = () =>
    serviceError('SERVICE_REQUEST_INVALID', 'a key that begins with [ is a JSON list of 1 to 16 texts');
  try {
    const parsed = z.array(z.string()).check(z.minLength(1), z.maxLength(16)).safeParse(JSON.parse(text));
    if (parsed.success) return parsed.data;
  } catch {
    throw fault();
  }
  throw fault();
}

function withoutPrefix(filters: Readonly<Record<string, string | readonly string[]>>) {
  const entries = Object.entries(filters).map(([name, value]) => [name.replace(/^where\./, ''), value] as const);
  return Object.fromEntries(entries);
}

const recordsAtOnce = 200;
const recordsMax = 10_000;

/**
 * What archives the table: the target that was named, else the file, else the only record that does.
 * @throws AppError SERVICE_NOT_FOUND, SERVICE_CONFLICT
 */
async function archiveTarget(
  service: ServiceContext,
  name: string,
  given: string | undefined,
  use: 'read' | 'archive',
): Promise<RunTarget> {
  const found: RunTarget[] = [];
  const takes = (task: { readonly table: string; readonly enabled: boolean; readonly children: readonly string[] }) =>
    use === 'archive' ? task.enabled && task.table === name : task.table === name || task.children.includes(name);
  const inFile = service.configFile.current.config.archive.map(({ children, ...task }) => ({
    ...task,
    children: children.map((child) => child.table),
  }));
  if (inFile.some(takes)) found.push({ kind: 'file' });
  if (found.length === 0 || given !== undefined) {
    for (let after = '0', seen = 0; seen < recordsMax; ) {
      const records = await service.records.list({ after, limit: recordsAtOnce });
      for (const { id, table: root, enabled, settings } of records) {
        const children = settings.children.map((child) => (typeof child === 'string' ? child : child.table));
        if (takes({ table: root, enabled, children })) found.push({ kind: 'record', id });
      }
      if (records.length < recordsAtOnce) break;
      after = records.at(-1)?.id ?? after;
      seen += records.length;
    }
  }
  const chosen = given === undefined ? found : found.filter((target) => targetText(target) === given);
  const [first, ...others] = chosen;
  if (!first)
    throw serviceError(
      'SERVICE_NOT_FOUND',
      `${given ?? 'neither the configuration file nor a record'} archives no table ${JSON.stringify(name)}`,
    );
  if (others.length === 0) return first;
  const names = chosen.slice(0, 10).map(targetText).join(', ');
  throw serviceError('SERVICE_CONFLICT', `${name} is archived by several: ${names}`, { hint: 'Say which by target=.' });
}

async function configOf(
  service: ServiceContext,
  target: RunTarget,
): Promise<Pick<RunSpec, 'configText' | 'configPath' | 'env' | 'database'>> {
  if (target.kind === 'record') return await service.records.spec(target.id);
  const { text, path } = service.configFile.current;
  return { configText: text, configPath: path, env: {}, database: service.databaseSettings() };
}
