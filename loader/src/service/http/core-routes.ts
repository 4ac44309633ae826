import * as z from 'zod/mini';
import { docsPage, docsPolicy } from './docs-page.ts';
import type { Metrics } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { type Route, route } from './route.ts';
import { notReady, statusDocument, statusSchema } from './status.ts';
import { orderOf, trigger, triggerAnswerSchema, triggerSchema } from './trigger.ts';

const anonymous = { name: 'anonymous', roles: new Set<never>() };
const tag = 'Service';

/**
 * Routes for probes, Prometheus, triggers and readers of the API.
 * @param all every route of the server, these included, for the documents
 */
export function coreRoutes(metrics: Metrics, version: string, all: () => readonly Route[]): readonly Route[] {
  let documents: { readonly json: string; readonly html: string } | null = null;
  const made = () => {
    if (documents === null) {
      const document = openApiDocument(all(), version);
      documents = { json: JSON.stringify(document), html: docsPage(all(), document, version) };
    }
    return documents;
  };
  return [
    route({
      method: 'GET',
      path: '/health',
      summary: 'Whether the process lives; it asks nobody else.',
      tag,
      access: 'public',
      responses: { 200: { description: 'It does.', schema: z.strictObject({ status: z.literal('ok') }) } },
      handle: async () => ({ body: { status: 'ok' } }),
    }),
    route({
      method: 'GET',
      path: '/ready',
      summary: 'Whether it takes orders.',
      tag,
      access: 'public',
      responses: {
        200: { description: 'It does.', schema: readySchema },
        503: { description: 'It does not, and says why.', schema: readySchema },
      },
      async handle({ service }) {
        const reasons = notReady(service);
        return { status: reasons.length === 0 ? 200 : 503, body: { ready: reasons.length === 0, reasons } };
      },
    }),
    route({
      method: 'GET',
      path: '/status',
      summary: 'What runs, what is next, how the last runs ended, how fresh each table is.',
      tag,
      access: 'public',
      responses: { 200: { description: 'All of that.', schema: statusSchema } },
      handle: async ({ service }) => ({ body: await statusDocument(service) }),
    }),
    route({
      method: 'POST',
      path: '/trigger',
      summary: 'Starts a run as soon as its turn comes.',
      tag,
      access: 'trigger',
      body: triggerSchema,
      responses: {
        202: { description: 'It waits its turn.', schema: triggerAnswerSchema },
        200: { description: 'The idempotency key was used before; this is its run.', schema: triggerAnswerSchema },
      },
      async handle({ body, principal, request, service }) {
        const by = principal ?? anonymous;
        const keyHeader = request.headers['idempotency-key'];
        const order = orderOf(body, { by, trigger: 'trigger', target: { kind: 'file' }, keyHeader });
        return await trigger(service, order, false);
      },
    }),
    route({
      method: 'GET',
      path: '/metrics',
      summary: 'Figures for Prometheus.',
      tag,
      access: 'public',
      responses: { 200: { description: 'In its text format.', contentType: metrics.contentType } },
      handle: async ({ service }) => ({
        headers: { 'content-type': metrics.contentType },
        body: await metrics.text(service),
      }),
    }),
    route({
      method: 'GET',
      path: '/openapi.json',
      summary: 'This API as an OpenAPI document.',
      tag,
      access: 'public',
      responses: { 200: { description: 'OpenAPI 3.1.', contentType: 'application/json' } },
      handle: async () => ({ headers: { 'content-type': 'application/json' }, body: made().json }),
    }),
    route({
      method: 'GET',
      path: '/docs',
      summary: 'The same for people.',
      tag,
      access: 'public',
      responses: { 200: { description: 'A page.', contentType: 'text/html' } },
      handle: async () => ({
        headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': docsPolicy },
        body: made().html,
      }),
    }),
  ];
}

const readySchema = z.strictObject({ ready: z.boolean(), reasons: z.array(z.string()) });
