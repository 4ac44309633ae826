import { randomUUID } from 'node:crypto';
import { serviceError } from '../errors.ts';
import type { Role } from '../roles.ts';

/** What a token says once it has been proved. */
export interface TokenClaims {
  readonly client: string;
  readonly roles: readonly Role[];
}

export interface TokenKeeper {
  issue(claims: TokenClaims, lifetimeSeconds: number): Promise<string>;
  /** @throws AppError SERVICE_UNAUTHENTICATED */
  verify(token: string): Promise<TokenClaims>;
}

const algorithm = 'HS256';
const type = 'at+jwt';
const issuer = 'tableset-loader';
const clockToleranceSeconds = 5;

/**
 * Signs and proves tokens, JWTs by HMAC-SHA-256. The algorithm is ours and not the token's, and a key that a token brings along or points to is never looked at.
 * @param audience what the tokens are good for: one service, even where several share a key
 * @param key read at each use
 */
export function openTokens(audience: string, key: () => Uint8Array): TokenKeeper {
  return {
    async issue({ client, roles }, lifetimeSeconds) {
      const { SignJWT } = await import('jose');
      const now = Math.floor(Date.now() / 1000);
      return await new SignJWT({ roles })
        .setProtectedHeader({ alg: algorithm, typ: type })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(client)
        .setJti(randomUUID())
        .setIssuedAt(now)
        .setNotBefore(now)
        .setExpirationTime(now + lifetimeSeconds)
        .sign(key());
    },
    async verify(token) {
      const { jwtVerify, errors } = await import('jose');
      try {
        const { payload } = await jwtVerify(token, key(), {
          algorithms: [algorithm],
          issuer,
          audience,
          typ: type,
          clockTolerance: clockToleranceSeconds,
          requiredClaims: ['sub', 'iat', 'nbf', 'exp', 'roles'],
        });
        const { sub, roles } = payload;
        if (sub !== undefined && isTexts(roles)) return { client: sub, roles };
      } catch (cause) {
        const expired = cause instanceof errors.JWTExpired;
        throw serviceError(
          'SERVICE_UNAUTHENTICATED',
          `the bearer token ${expired ? 'has expired' : 'is not good here'}`,
          {
            cause,
          },
        );
      }
      throw serviceError('SERVICE_UNAUTHENTICATED', 'the bearer token is not good here');
    },
  };
}

/** Only this module signs roles; what is no role of a client's gives nothing. */
function isTexts(value: unknown): value is readonly Role[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}
