import { commonError } from '@tableset/common/errors.ts';
import type { ServiceSettings } from '../../settings-service.ts';
import { networkOf, openRateLimit } from '../api/rate-limit.ts';
import { serviceError } from '../errors.ts';
import type { Principal, Role } from '../roles.ts';
import { type Clients, parseClients, provenClient, sameText } from './clients.ts';
import { MountedFile, type Warn } from './mounted-file.ts';
import { openTokens } from './tokens.ts';

/** Proves who asks. */
export interface Authenticator {
  /** Tokens are issued and taken, so that /api/v1 works. */
  readonly apiOn: boolean;
  /** POST /trigger asks for nothing. */
  readonly triggerOpen: boolean;
  /**
   * @param authorization the header
   * @returns null where there is none
   * @throws AppError SERVICE_UNAUTHENTICATED for one that is wrong
   */
  authenticate(authorization: string | undefined): Promise<Principal | null>;
  /**
   * A token for whoever knows a client's secret.
   * @throws AppError SERVICE_API_OFF, SERVICE_RATE_LIMITED, SERVICE_UNAUTHENTICATED, or SERVICE_FORBIDDEN for a role that the client does not have
   */
  issue(request: TokenRequest): Promise<IssuedToken>;
}

export interface TokenRequest {
  readonly client: string;
  readonly secret: string;
  /** Fewer roles than the client has; null: all of them. */
  readonly roles: readonly string[] | null;
  /** Who asks, for the limit. */
  readonly address: string;
}

export interface IssuedToken {
  readonly token: string;
  readonly expiresInSeconds: number;
  readonly roles: readonly Role[];
}

const triggerTokenBytesMin = 16;
const signingKeyBytesMin = 32;
/**
 * For one client from one address, so that behind a proxy nobody locks out all of them. A client needs a token every few minutes; whoever asks more often
 * guesses.
 */
const tokensPerMinute = 30;

/** It may trigger, and nothing else: routes that ask for a role do not take it. */
export const triggerPrincipal: Principal = { name: 'trigger', roles: new Set(), triggerOnly: true };

/**
 * Opens it with the secrets as they are mounted; they are read again when they change.
 * @throws AppError CONFIG_UNREADABLE, CONFIG_INVALID, SETTING_INVALID or SETTING_MISSING for secrets that cannot be used
 */
export async function openAuthenticator(settings: ServiceSettings, warn: Warn = () => {}): Promise<Authenticator> {
  const { triggerTokenFile } = settings;
  const triggerToken =
    triggerTokenFile === undefined
      ? null
      : new MountedFile({ path: triggerTokenFile, setting: 'TRIGGER_TOKEN_FILE', parse: parseTriggerToken, warn });
  const api = openApi(settings, warn);
  return {
    apiOn: api !== null,
    triggerOpen: triggerToken === null && api === null,
    async authenticate(authorization) {
      if (authorization === undefined) return null;
      const given = /^Bearer ([\x21-\x7e]{1,8192})$/i.exec(authorization)?.[1];
      if (given !== undefined && triggerToken !== null && sameText(given, triggerToken.value)) return triggerPrincipal;
      if (given !== undefined && api !== null) return await api.authenticate(given);
      throw serviceError('SERVICE_UNAUTHENTICATED', 'the bearer token is not good here');
    },
    async issue(request) {
      if (api === null) throw serviceError('SERVICE_API_OFF', 'the API is off: JWT_SECRET_KEY_FILE is not set');
      return await api.issue(request);
    },
  };
}

interface Api {
  authenticate(token: string): Promise<Principal>;
  issue(request: TokenRequest): Promise<IssuedToken>;
}

function openApi(settings: ServiceSettings, warn: Warn): Api | null {
  const { jwtSecretKeyFile, apiClientsFile, jwtLifetimeSeconds, host, port, name } = settings;
  if (jwtSecretKeyFile === undefined && apiClientsFile === undefined) return null;
  if (jwtSecretKeyFile === undefined || apiClientsFile === undefined)
    throw commonError('SETTING_MISSING', 'JWT_SECRET_KEY_FILE and API_CLIENTS_FILE are set together or not at all');
  const key = new MountedFile({
    path: jwtSecretKeyFile,
    setting: 'JWT_SECRET_KEY_FILE',
    parse: parseSigningKey,
    warn,
  });
  const clients = new MountedFile<Clients>({
    path: apiClientsFile,
    setting: 'API_CLIENTS_FILE',
    parse: (text) => parseClients(text, apiClientsFile),
    warn,
  });
  // Services that share a key do not take each other's tokens.
  const tokens = openTokens(`${host}:${port}/${name}`, () => key.value);
  const limit = openRateLimit(tokensPerMinute, Date.now);
  return {
    async authenticate(token) {
      const { client: id, roles } = await tokens.verify(token);
      const client = clients.value.get(id);
      if (!client) throw serviceError('SERVICE_UNAUTHENTICATED', 'the client of the bearer token is no longer one');
      // A role that was taken away since is gone at once.
      return { name: id, roles: new Set(roles.filter((role) => client.roles.has(role))) };
    },
    async issue({ client: id, secret, roles: asked, address }) {
      const retryAfterSeconds = limit.take(`${networkOf(address)} ${id}`);
      if (retryAfterSeconds !== null)
        throw serviceError('SERVICE_RATE_LIMITED', 'too many tokens were asked for this client from this address', {
          details: { retryAfterSeconds },
        });
      const client = provenClient(clients.value, id, secret);
      if (!client) throw serviceError('SERVICE_UNAUTHENTICATED', 'there is no such client with this secret');
      const roles = asked === null ? [...client.roles] : [...client.roles].filter((role) => asked.includes(role));
      const missing = asked?.find((role) => !roles.some((each) => each === role));
      if (missing !== undefined)
        throw serviceError('SERVICE_FORBIDDEN', `${id} does not have the role ${JSON.stringify(missing)}`);
      const token = await tokens.issue({ client: id, roles }, jwtLifetimeSeconds);
      return { token, expiresInSeconds: jwtLifetimeSeconds, roles };
    },
  };
}

function parseTriggerToken(token: string): string {
  if (Buffer.byteLength(token) < triggerTokenBytesMin)
    throw commonError('SETTING_INVALID', `TRIGGER_TOKEN_FILE names a token of under ${triggerTokenBytesMin} bytes`);
  return token;
}

function parseSigningKey(text: string): Uint8Array {
  const key = new TextEncoder().encode(text);
  if (key.byteLength < signingKeyBytesMin)
    throw commonError('SETTING_INVALID', `JWT_SECRET_KEY_FILE names a key of under ${signingKeyBytesMin} bytes`, {
      hint: 'Make one with: openssl rand -base64 48',
    });
  return key;
}
