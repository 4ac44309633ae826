import * as z from 'zod/mini';
import { type Route, route } from '../http/route.ts';
import { statusDocument } from '../http/status.ts';

/** The page for people. */
export const pageRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/',
    summary: 'A page for people: what runs, what is next, how fresh each table is, what failed.',
    tag: 'Service',
    access: 'public',
    // Links may carry what others add to them.
    query: z.looseObject({ part: z.optional(z.literal('sections')) }),
    responses: { 200: { description: 'The page.', contentType: 'text/html' } },
    async handle({ query, service }) {
      const { pageDocument, pagePolicy, pageSections } = await import('./document.ts');
      const loadTables = service.configFile.current.config.load.map(({ table }) => table);
      const facts = { status: await statusDocument(service), loadTables, nowMs: service.now() };
      return {
        headers: {
          'content-type': 'text/html; charset=utf-8',
          'content-security-policy': pagePolicy,
          'referrer-policy': 'no-referrer',
        },
        body: query.part === undefined ? pageDocument(facts, service.authenticator) : pageSections(facts),
      };
    },
  }),
];
