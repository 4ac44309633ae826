import * as z from 'zod/mini';
import type { Access } from '../roles.ts';
import { problemContentType } from './problem.ts';
import type { Route } from './route.ts';

/** A JSON Schema, as OpenAPI 3.1 takes it. */
type Schema = Readonly<Record<string, unknown>>;

/** The OpenAPI 3.1 document of the routes. `x-access` says what each asks for. */
export function openApiDocument(routes: readonly Route[], version: string): Schema {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Tableset loader', version },
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      schemas: { Problem: problemSchema },
    },
  };
}

function operation(route: Route): Schema {
  const { summary, tag, access, body, forms } = route;
  const parameters = [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query')];
  const schema = body && jsonSchema(body, 'input');
  const types = forms ? ['application/json', 'application/x-www-form-urlencoded'] : ['application/json'];
  return {
    summary,
    tags: [tag],
    'x-access': access,
    ...(access === 'public' ? {} : { security: access === 'trigger' ? [{}, { bearer: [] }] : [{ bearer: [] }] }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(schema
      ? { requestBody: { required: true, content: Object.fromEntries(types.map((type) => [type, { schema }])) } }
      : {}),
    responses: { ...successes(route), ...problems(route) },
  };
}

function successes({ responses }: Route): Schema {
  return Object.fromEntries(
    Object.entries(responses).map(([status, { description, schema, contentType }]) => {
      const type = contentType ?? 'application/json';
      const content = schema ? { schema: jsonSchema(schema, 'output') } : {};
      return [status, { description, ...(schema || contentType ? { content: { [type]: content } } : {}) }];
    }),
  );
}

function problems({ access, params, query, body, responses }: Route): Schema {
  const statuses = [
    ...(params || query || body ? [400] : []),
    ...(access === 'public' ? [] : [401, 403]),
    ...(params ? [404] : []),
    ...(body ? [413, 415] : []),
    ...(access === 'public' ? [] : [429, 503]),
  ].filter((status) => !(status in responses));
  const content = { [problemContentType]: { schema: { $ref: '#/components/schemas/Problem' } } };
  return Object.fromEntries(statuses.map((status) => [status, { description: meanings[status] ?? '', content }]));
}

const meanings: Readonly<Record<number, string>> = {
  400: 'It does not fit the schema.',
  401: 'No token, or one that is not good.',
  403: 'The token has no role that allows it.',
  404: 'There is nothing of this id.',
  413: 'The body is too large.',
  415: 'The body is of a type that is not taken.',
  429: 'Too many requests, or the queue is full; Retry-After says when.',
  503: 'The database is away, the service is ending, or the API is off.',
};

function parametersOf(schema: z.ZodMiniType | undefined, where: 'path' | 'query'): readonly Schema[] {
  if (!schema) return [];
  const { properties, required } = jsonSchema(schema, 'input');
  const names = Array.isArray(required) ? required : [];
  // Parameters are declared as objects, one property each.
  return Object.entries((properties ?? {}) as Record<string, Schema>).map(([name, { description, ...rest }]) => ({
    name,
    in: where,
    required: where === 'path' || names.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: rest,
  }));
}

function jsonSchema(schema: z.ZodMiniType, io: 'input' | 'output'): Schema {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}

const problemSchema: Schema = {
  type: 'object',
  description: 'RFC 9457',
  required: ['type', 'title', 'status', 'detail', 'code', 'remedy'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string', description: 'One of docs/errors.md.' },
    remedy: { type: 'string' },
    instance: { type: 'string', description: "The request's id." },
    errors: {
      type: 'array',
      items: { type: 'object', properties: { path: { type: 'string' }, message: { type: 'string' } } },
    },
  },
};

/** What a route asks for, for people. */
export function accessText(access: Access): string {
  return {
    public: 'anyone',
    trigger: 'the trigger token, or the role operator',
    viewer: 'the role viewer, operator or admin',
    operator: 'the role operator or admin',
    admin: 'the role admin',
    table: 'the role of the table, or admin',
  }[access];
}
