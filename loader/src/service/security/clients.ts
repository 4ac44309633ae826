import { createHash, timingSafeEqual } from 'node:crypto';
import { commonError } from '@tableset/common/errors.ts';
import { registerSecret } from '@tableset/common/output/redact.ts';
import { parse } from 'yaml';
import * as z from 'zod/mini';
import type { Role } from '../roles.ts';

/** A program or person that may ask for tokens. */
export interface Client {
  readonly id: string;
  /** SHA-256 of the secret. */
  readonly digest: Buffer;
  readonly roles: ReadonlySet<Role>;
}

export type Clients = ReadonlyMap<string, Client>;

/** Names that runs and the audit trail have for others than clients. */
const reservedIds = new Set(['anonymous', 'cli', 'event', 'schedule', 'service', 'trigger']);
const secretCharactersMin = 16;

/** No colon: an idempotency key is kept as `CLIENT:KEY`. */
const idSchema = z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/));
const roleSchema = z.string().check(z.regex(/^(?:viewer|operator|admin|table:.{1,64})$/u));
const clientSchema = z.strictObject({
  id: idSchema,
  secret: z.optional(z.string().check(z.minLength(secretCharactersMin), z.maxLength(1024))),
  secretHash: z.optional(z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/i))),
  roles: z.array(roleSchema).check(z.minLength(1), z.maxLength(50)),
});
const fileSchema = z.strictObject({ clients: z.array(clientSchema).check(z.minLength(1), z.maxLength(1000)) });

/**
 * Reads the list of clients, YAML or JSON: `clients: [{id, secretHash: sha256:HEX or secret, roles}]`. A hash of this kind is safe for a secret that is
 * random, not for a word that somebody chose.
 * @throws AppError CONFIG_INVALID naming the place, never the content
 */
export function parseClients(text: string, path: string): Clients {
  const invalid = (what: string) => commonError('CONFIG_INVALID', `API_CLIENTS_FILE names ${path}: ${what}`);
  let document: unknown;
  try {
    document = parse(text);
  } catch {
    // The parser quotes the line, which may hold a secret.
    throw invalid('it is not valid YAML');
  }
  const result = fileSchema.safeParse(document);
  if (!result.success) {
    const places = result.error.issues.map(({ path: at }) => (at.length === 0 ? 'the file' : at.map(String).join('.')));
    throw invalid(
      `not valid: ${[...new Set(places)].join(', ')}; each client has an id, a secret of at least ${secretCharactersMin} characters or its secretHash (sha256:HEX), and roles`,
    );
  }
  const clients = new Map<string, Client>();
  for (const { id, secret, secretHash, roles } of result.data.clients) {
    if (reservedIds.has(id)) throw invalid(`the id ${id} is taken by the service itself`);
    if (clients.has(id)) throw invalid(`the id ${id} stands there twice`);
    if ((secret === undefined) === (secretHash === undefined))
      throw invalid(`${id} has one of secret and secretHash, not both and not none`);
    if (secret !== undefined) registerSecret(secret);
    const digest =
      secret === undefined ? Buffer.from((secretHash ?? '').slice('sha256:'.length), 'hex') : sha256(secret);
    // The pattern lets nothing else through.
    clients.set(id, { id, digest, roles: new Set(roles as Role[]) });
  }
  return clients;
}

/** Against which an unknown client's secret is compared, so that the time does not tell that it is unknown. */
const nobody = Buffer.alloc(32);

/** @returns the client if the secret is its own; the time it takes tells nothing of why it is not */
export function provenClient(clients: Clients, id: string, secret: string): Client | null {
  const client = clients.get(id);
  const same = timingSafeEqual(sha256(secret), client?.digest ?? nobody);
  return same && client ? client : null;
}

/** In time that does not tell how much of it was right. */
export function sameText(a: string, b: string): boolean {
  return timingSafeEqual(sha256(a), sha256(b));
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
