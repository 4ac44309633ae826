import type { FastifyReply, FastifyRequest } from 'fastify';
import type * as z from 'zod/mini';
import type { ServiceContext } from '../contracts.ts';
import type { Access, Principal } from '../roles.ts';

/** One way to answer, for the OpenAPI document. */
export interface RouteResponse {
  readonly description: string;
  /** Of a JSON body; without it the body is `contentType`, or there is none. */
  readonly schema?: z.ZodMiniType;
  readonly contentType?: string;
}

type Parsed<Schema> = Schema extends z.ZodMiniType ? z.output<Schema> : undefined;

export interface RouteCall<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** Null on a public route, and on an open `trigger` route. */
  readonly principal: Principal | null;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly service: ServiceContext;
}

export interface RouteAnswer {
  /** 200 by default. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON unless `content-type` says otherwise. */
  readonly body?: unknown;
}

/** One route: fastify, the checks, the roles and the OpenAPI document are all made from it. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As fastify writes it: `/api/v1/runs/:id`. */
  readonly path: string;
  /** One line. */
  readonly summary: string;
  readonly tag: string;
  readonly access: Access;
  readonly params?: z.ZodMiniType;
  readonly query?: z.ZodMiniType;
  readonly body?: z.ZodMiniType;
  /** Takes `application/x-www-form-urlencoded` beside JSON; the body is then an object of texts. */
  readonly forms?: true;
  /** Of success; the problems are added: 400, 401, 403, 404, 413, 429, 503 where they can be. */
  readonly responses: Readonly<Record<number, RouteResponse>>;
  handle(call: RouteCall<unknown, unknown, unknown>): Promise<RouteAnswer>;
}

/**
 * Ties schemas to the handler, which gets what they parsed.
 * @example route({ method: 'GET', path: '/api/v1/runs/:id', params: z.strictObject({ id: runId }), … async handle({ params, service }) { … } })
 */
export function route<
  const Params extends z.ZodMiniType | undefined = undefined,
  const Query extends z.ZodMiniType | undefined = undefined,
  const Body extends z.ZodMiniType | undefined = undefined,
>(
  definition: Omit<Route, 'params' | 'query' | 'body' | 'handle'> & {
    readonly params?: Params;
    readonly query?: Query;
    readonly body?: Body;
    handle(call: RouteCall<Parsed<Params>, Parsed<Query>, Parsed<Body>>): Promise<RouteAnswer>;
  },
): Route {
  // The server parses params, query and body by these very schemas before it calls.
  return definition as unknown as Route;
}
