import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { commonError } from '@tableset/common/errors.ts';
import { serviceError } from '../errors.ts';

/** Keys that passwords are stored with, the newest first. */
export interface Keyring {
  /** Id of the key that new secrets are sealed with. */
  readonly newest: string;
  /** @param place what the secret belongs to: sealed text that was moved elsewhere does not open */
  seal(secret: string, place: string): string;
  /** @throws AppError SERVICE_SECRET_UNREADABLE */
  open(sealed: string, place: string): string;
}

const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const keysMax = 100;
const algorithm = 'aes-256-gcm';
/** No letter that means something in LIKE. */
const linePattern = /^([A-Za-z0-9.-]{1,32}):([A-Za-z0-9+/]{43}=)$/;

/**
 * Reads the keys: `ID:BASE64` of 32 bytes a line, the newest first. To rotate, put a new line before the others; what is stored is sealed anew by the service, and
 * the old line may go when no record names it any more.
 * @throws AppError SETTING_INVALID naming the line, never its content
 */
export function parseKeyring(text: string, path: string): Keyring {
  const keys = new Map<string, Buffer>();
  for (const [index, line] of text.split('\n').entries()) {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const [, id = '', encoded = ''] = linePattern.exec(trimmed) ?? [];
    const key = Buffer.from(encoded, 'base64');
    const fault =
      key.length !== keyBytes
        ? `is not ID:BASE64 of ${keyBytes} bytes`
        : keys.has(id)
          ? `has the id ${id} again`
          : null;
    if (fault !== null)
      throw commonError('SETTING_INVALID', `ENCRYPTION_KEY_FILE names ${path}, whose line ${index + 1} ${fault}`, {
        hint: 'Make a key with: echo "$(date +%Y%m%d):$(openssl rand -base64 32)"',
      });
    keys.set(id, key);
  }
  const [newest] = keys;
  if (newest === undefined || keys.size > keysMax)
    throw commonError(
      'SETTING_INVALID',
      `ENCRYPTION_KEY_FILE names ${path}, which has ${keys.size} keys, not 1 to ${keysMax}`,
    );
  return {
    newest: newest[0],
    seal: (secret, place) => seal(secret, place, newest),
    open: (text, place) => open(text, place, keys),
  };
}

/** Id of the key that a text was sealed with. */
export function keyIdOf(sealed: string): string {
  return sealed.split(':')[1] ?? '';
}

function seal(secret: string, place: string, [id, key]: readonly [string, Buffer]): string {
  // A nonce of 96 random bits for each secret: at a few thousand of them a repetition is out of reach.
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(Buffer.from(`${id}:${place}`));
  const body = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  return `v1:${id}:${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64')}`;
}

function open(sealed: string, place: string, keys: ReadonlyMap<string, Buffer>): string {
  const [format, id = '', encoded = ''] = sealed.split(':');
  const key = keys.get(id);
  const unreadable = (what: string, cause?: unknown) =>
    serviceError('SERVICE_SECRET_UNREADABLE', `the password of ${place} cannot be read: ${what}`, { cause });
  if (format !== 'v1') throw unreadable('it was stored by a newer version');
  if (!key) throw unreadable(`ENCRYPTION_KEY_FILE has no key ${id}`);
  const bytes = Buffer.from(encoded, 'base64');
  try {
    const decipher = createDecipheriv(algorithm, key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
    decipher.setAAD(Buffer.from(`${id}:${place}`));
    decipher.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
    return Buffer.concat([decipher.update(bytes.subarray(nonceBytes + tagBytes)), decipher.final()]).toString('utf8');
  } catch (cause) {
    throw unreadable('it was altered, moved, or sealed with another key of this id', cause);
  }
}
