import type { AppError } from '@tableset/common/errors.ts';
import * as z from 'zod/mini';
import type { ServiceContext } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import { asAppError } from '../run-error.ts';

const text = (max: number) => z.string().check(z.minLength(1), z.maxLength(max));

export const tokenRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/auth/token',
    summary: 'A short-lived token for a client that proves itself by its secret, with roles that it has and no others.',
    tag: 'Authentication',
    access: 'public',
    forms: true,
    body: z.strictObject({
      grant_type: z.literal('client_credentials'),
      client_id: z.optional(text(64)),
      client_secret: z.optional(text(1024)),
      /** Roles, separated by blanks. */
      scope: z.optional(text(2048)),
    }),
    responses: {
      200: {
        description: 'The token. As by RFC 6749, section 4.4; id and secret may come as Basic authentication too.',
        schema: z.strictObject({
          access_token: z.string(),
          token_type: z.literal('Bearer'),
          expires_in: z.int(),
          scope: z.string(),
          roles: z.array(z.string()),
        }),
      },
    },
    async handle({ body, request, service }) {
      const { client, secret } = credentials(body.client_id, body.client_secret, request.headers.authorization);
      const address = service.clientAddress(request.socket.remoteAddress, request.headers);
      const roles = body.scope === undefined ? null : body.scope.split(' ').filter((role) => role !== '');
      const issued = await service.authenticator
        .issue({ client, secret, roles, address })
        .catch(async (error: unknown) => {
          const known = asAppError(error);
          if (known.code === 'SERVICE_UNAUTHENTICATED' || known.code === 'SERVICE_FORBIDDEN')
            await note(service, client, 'token.refuse', { code: known.code, address });
          throw error;
        });
      await note(service, client, 'token.issue', { roles: issued.roles, address });
      return {
        headers: { pragma: 'no-cache' },
        body: {
          access_token: issued.token,
          token_type: 'Bearer',
          expires_in: issued.expiresInSeconds,
          scope: issued.roles.join(' '),
          roles: issued.roles,
        },
      };
    },
  }),
];

/** Of the body, or of Basic authentication, not of both. */
function credentials(
  id: string | undefined,
  secret: string | undefined,
  authorization: string | undefined,
): { readonly client: string; readonly secret: string } {
  const invalid = (what: string): AppError => serviceError('SERVICE_REQUEST_INVALID', what);
  const encoded =
    authorization === undefined ? undefined : /^Basic ([A-Za-z0-9+/=]{1,2048})$/i.exec(authorization)?.[1];
  if (authorization !== undefined && encoded === undefined)
    throw invalid('this route takes Basic authentication or none');
  if (encoded === undefined) {
    if (id === undefined || secret === undefined) throw invalid('client_id and client_secret are missing');
    return { client: id, secret };
  }
  if (id !== undefined || secret !== undefined) throw invalid('client_id and client_secret came twice');
  const pair = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  if (colon < 1) throw invalid('Basic authentication takes ID:SECRET in Base64');
  return { client: formDecoded(pair.slice(0, colon)), secret: formDecoded(pair.slice(colon + 1)) };
}

/** RFC 6749 has both encoded as in a form; a percent sign that encodes nothing stands for itself. */
function formDecoded(part: string): string {
  try {
    return decodeURIComponent(part.replaceAll('+', ' '));
  } catch {
    return part;
  }
}

/** While the ledger is away tokens are issued all the same, since reading /runs then tells why. */
async function note(service: ServiceContext, client: string, action: string, details: object): Promise<void> {
  // Whoever is refused has chosen the name.
  const actor = /^[\x21-\x7e]{1,64}$/.test(client) ? client : 'unknown';
  try {
    await service.database.use((connection) =>
      service.audit.record(connection, { actor, action, subject: `client ${actor}`, details: { ...details } }),
    );
  } catch (error) {
    const { code, message } = asAppError(error);
    service.output.event('warn', 'the audit trail could not be written', {
      action,
      client: actor,
      code,
      error: message,
    });
  }
}
