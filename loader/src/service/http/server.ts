import { isMissingTable } from '@tableset/common/database/ledger.ts';
import { AppError } from '@tableset/common/errors.ts';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import type * as z from 'zod/mini';
import { complaintsOf } from '../../config/problems.ts';
import type { RateLimit } from '../api/rate-limit.ts';
import type { ServiceContext } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import { allows, type Principal } from '../roles.ts';
import { asAppError } from '../run-error.ts';
import type { Authenticator } from '../security/authenticator.ts';
import { problemContentType, problemOf, statusOf } from './problem.ts';
import type { Route } from './route.ts';

export interface ServerParts {
  readonly routes: readonly Route[];
  readonly service: ServiceContext;
  readonly authenticator: Authenticator;
  readonly rateLimit: RateLimit;
}

const bodyBytesMax = 64 * 1024;
const requestTimeoutMs = 30_000;
const keepAliveMs = 65_000;
const formType = 'application/x-www-form-urlencoded';

// No route hands fastify a schema, so that neither is ever called for one.
const noCompilers = {
  buildValidator: () => () => () => true,
  buildSerializer: () => () => JSON.stringify,
} as unknown as NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>;

/** Makes the HTTP server from the routes; it does not listen yet. */
export function createServer(parts: ServerParts): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveMs,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 512 },
    // The routes check their input themselves, so that ajv is not loaded.
    schemaController: { compilersFactory: noCompilers },
    // What is refused before there is a route: a path that cannot be decoded, or one with a part that is too long.
    frameworkErrors: (error, request, reply) => sendProblem(fastifyProblem(error) ?? asAppError(error), request, reply),
  });
  // A page elsewhere can send text and forms to a service it must not reach, but not JSON without being asked about.
  app.removeContentTypeParser('text/plain');
  app.addContentTypeParser(formType, { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))));
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff');
    reply.header('cache-control', reply.getHeader('cache-control') ?? 'no-store');
  });
  for (const route of parts.routes) addRoute(app, route, parts);
  app.setNotFoundHandler(async (request, reply) => {
    sendProblem(serviceError('SERVICE_NOT_FOUND', `there is no ${request.method} ${pathOf(request)}`), request, reply);
  });
  app.setErrorHandler((error: unknown, request, reply) => {
    const known = fastifyProblem(error) ?? notReady(error, parts.service) ?? asAppError(error);
    if (known.code === 'INTERNAL')
      parts.service.output.event('error', 'a request failed', {
        request: request.id,
        path: request.routeOptions.url,
        error: known.message,
        stack: error instanceof Error ? error.stack : undefined,
      });
    sendProblem(known, request, reply);
  });
  return app;
}

function addRoute(app: FastifyInstance, route: Route, { service, authenticator, rateLimit }: ServerParts): void {
  const principals = new WeakMap<FastifyRequest, Principal>();
  const limited = route.access === 'trigger' || route.path.startsWith('/api/');
  app.route({
    method: route.method,
    url: route.path,
    // Before the body is read.
    onRequest: async (request, reply) => {
      const seconds = limited
        ? rateLimit.take(service.clientAddress(request.socket.remoteAddress, request.headers))
        : null;
      if (seconds !== null) {
        reply.header('retry-after', String(seconds));
        throw serviceError('SERVICE_RATE_LIMITED', 'this address has made too many requests');
      }
      if (!route.forms && request.headers['content-type']?.toLowerCase().startsWith(formType))
        throw serviceError('SERVICE_MEDIA_TYPE', 'this route takes no forms');
      const principal = await admitted(route, request, authenticator);
      if (principal) principals.set(request, principal);
    },
    handler: async (request, reply) => {
      const answer = await route.handle({
        params: parsed(route.params, request.params, 'path'),
        query: parsed(route.query, request.query, 'query'),
        body: parsed(route.body, request.body, 'body'),
        principal: principals.get(request) ?? null,
        request,
        reply,
        service,
      });
      reply.code(answer.status ?? 200).headers(answer.headers ?? {});
      return reply.send(answer.body);
    },
  });
}

/** @throws AppError SERVICE_UNAUTHENTICATED, SERVICE_FORBIDDEN or SERVICE_API_OFF */
async function admitted(
  route: Route,
  request: FastifyRequest,
  authenticator: Authenticator,
): Promise<Principal | null> {
  const { access } = route;
  if (access === 'public') return null;
  if (access === 'trigger' && authenticator.triggerOpen) return null;
  if (access !== 'trigger' && !authenticator.apiOn)
    throw serviceError('SERVICE_API_OFF', 'the API is off: JWT_SECRET_KEY_FILE is not set');
  const principal = await authenticator.authenticate(request.headers.authorization);
  if (principal === null) throw serviceError('SERVICE_UNAUTHENTICATED', 'this needs a bearer token');
  if (access === 'trigger' && principal.triggerOnly) return principal;
  const role = access === 'trigger' ? 'operator' : access;
  if (!allows(role, principal.roles, tableOf(request)))
    throw serviceError('SERVICE_FORBIDDEN', `${principal.name} does not have the role ${roleName(role, request)}`);
  return principal;
}

function tableOf({ params }: FastifyRequest): string | null {
  return typeof params === 'object' && params !== null && 'table' in params ? String(params.table) : null;
}

function roleName(role: string, request: FastifyRequest): string {
  return role === 'table' ? `table:${tableOf(request) ?? '*'}` : role;
}

function parsed(schema: z.ZodMiniType | undefined, value: unknown, where: string): unknown {
  if (schema === undefined) return undefined;
  const result = schema.safeParse(value ?? {});
  if (result.success) return result.data;
  const errors = complaintsOf(result.error.issues, schema, value ?? {}).map(({ path, message }) => ({
    path: path.join('.'),
    message,
  }));
  const [first] = errors;
  throw serviceError(
    'SERVICE_REQUEST_INVALID',
    `the ${where} does not fit: ${first && first.path !== '' ? `${first.path} ` : ''}${first?.message ?? 'it is not valid'}`,
    { details: { errors } },
  );
}

function sendProblem(error: AppError, request: FastifyRequest, reply: FastifyReply): void {
  const status = statusOf(error);
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  const seconds = error.details['retryAfterSeconds'];
  if (typeof seconds === 'number') reply.header('retry-after', String(seconds));
  else if (status === 503) reply.header('retry-after', '5');
  // An internal error's message is for the log alone.
  const shown = error.code === 'INTERNAL' ? serviceInternal(request) : error;
  // As a string: a problem document is JSON that fastify does not know as such.
  reply
    .code(status)
    .header('content-type', problemContentType)
    .send(JSON.stringify(problemOf(shown, status, request.id)));
}

function serviceInternal(request: FastifyRequest): AppError {
  const entry = { exit: 1, cause: '', remedy: 'Look for the request in the log of the service.' } as const;
  return new AppError('INTERNAL', entry, `request ${request.id} failed`);
}

/** Before the service's tables are made, whatever needs them is to be asked for again. */
function notReady(error: unknown, { tablesReady }: ServiceContext): AppError | null {
  if (tablesReady() || !isMissingTable(error)) return null;
  return serviceError('SERVICE_NOT_READY', 'the tables of the service are not made yet', { cause: error });
}

/** What fastify itself refuses. */
function fastifyProblem(error: unknown): AppError | null {
  if (!(error instanceof Error) || error instanceof AppError || !('statusCode' in error)) return null;
  // Only fastify's own errors have a status here.
  const { statusCode, message } = error as FastifyError;
  if (statusCode === 413)
    return serviceError('SERVICE_REQUEST_TOO_LARGE', `a body may have at most ${bodyBytesMax} bytes`);
  if (statusCode === 415) return serviceError('SERVICE_MEDIA_TYPE', message);
  return statusCode !== undefined && statusCode < 500 ? serviceError('SERVICE_REQUEST_INVALID', message) : null;
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?')[0]?.slice(0, 200) ?? '/';
}
