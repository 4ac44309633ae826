import { createHash } from 'node:crypto';
import type { Connection } from '@tableset/common/database/connection.ts';
import { commonError } from '@tableset/common/errors.ts';
import { registerSecret } from '@tableset/common/output/redact.ts';
import { readSecretFile } from '@tableset/common/settings/settings.ts';
import { publicAddressGuard } from '../../http/guarded-lookup.ts';
import type { ServiceSettings } from '../../settings-service.ts';
import type { Delivery } from '../../webhooks/deliver.ts';
import type { ConfigFile } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import type { Keyring } from '../security/keyring.ts';
import { findReceiver, receiverFilters, secretPlace, urlPlace } from './receiver-rows.ts';

/** Whom notices go to, before it is known how. */
export interface ReceiverFilter {
  /** `file:HASH`, `env` or `api:ID`: the same as long as the receiver is. */
  readonly key: string;
  /** Null: all tables. */
  readonly tables: ReadonlySet<string> | null;
}

export type Reach = Pick<Delivery, 'name' | 'url' | 'secret' | 'guard' | 'timeoutMs'>;

/** Receivers of the configuration file, of WEBHOOK_URL and of the API. */
export interface Receivers {
  /** Those there are now. */
  list(connection: Connection): Promise<readonly ReceiverFilter[]>;
  /**
   * How to reach one.
   * @returns null if it is no longer there
   * @throws AppError for a secret that cannot be read
   */
  reach(connection: Connection, key: string): Promise<Reach | null>;
}

const environmentKey = 'env';
const environmentTimeoutMs = 5_000;

/** @throws AppError SETTING_INVALID or SETTING_MISSING for a WEBHOOK_URL that cannot be used, CONFIG_UNREADABLE for its secret */
export function openReceivers(
  settings: Pick<ServiceSettings, 'webhookUrl' | 'webhookSecretFile' | 'webhookAllowedHosts'>,
  configFile: Pick<ConfigFile, 'current'>,
  keys: () => Keyring,
): Receivers {
  const environment = environmentReceiver(settings);
  // Fails at the start rather than at the first change.
  environment?.();
  const guard = publicAddressGuard(settings.webhookAllowedHosts);
  const ofFile = () =>
    configFile.current.config.webhooks.map((webhook, index) => ({
      key: fileKey(webhook.url, webhook.tables),
      tables: webhook.tables ? new Set(webhook.tables) : null,
      place: `webhooks[${index}]`,
      webhook,
    }));
  return {
    async list(connection) {
      const own = environment ? [{ key: environmentKey, tables: null }] : [];
      return [...ofFile(), ...own, ...(await receiverFilters(connection))];
    },
    async reach(connection, key) {
      if (key === environmentKey) return environment?.() ?? null;
      if (key.startsWith('api:')) {
        const stored = await findReceiver(connection, key.slice('api:'.length));
        if (!stored) return null;
        const { id, sealedUrl, sealedSecret, timeoutMs } = stored;
        const url = new URL(keys().open(sealedUrl, urlPlace(id)));
        const secret = keys().open(sealedSecret, secretPlace(id));
        registerSecret(secret);
        return { name: `webhook ${id} (${url.origin})`, url, secret, guard, timeoutMs };
      }
      const found = ofFile().find((each) => each.key === key);
      if (!found) return null;
      const { webhook, place } = found;
      const url = new URL(webhook.url);
      const secret = usableSecret(webhook.secretFile, `${place}.secretFile`);
      const timeoutMs = webhook.timeoutSeconds * 1000;
      return { name: `${place} (${url.origin})`, url, secret, guard: null, timeoutMs };
    },
  };
}

/**
 * An address that came in through the API, if it may be told at all; names are looked at when they are resolved, at each try.
 * @throws AppError SERVICE_REQUEST_INVALID
 */
export function checkedAddress(text: string, allowedHosts: readonly string[]): URL {
  const invalid = (message: string) =>
    serviceError('SERVICE_REQUEST_INVALID', `the body does not fit: url ${message}`, {
      details: { errors: [{ path: 'url', message }] },
    });
  if (!URL.canParse(text)) throw invalid('takes an https:// address');
  const url = new URL(text);
  const guard = publicAddressGuard(allowedHosts);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const allowed = guard.allowsHost(host);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && allowed)) throw invalid('takes an https:// address');
  if (url.username !== '' || url.password !== '') throw invalid('takes no account: the notice is signed');
  const literal = host.includes(':') || /^[\d.]+$/.test(host);
  if (!allowed && (literal ? guard.refuses(host) : host === 'localhost' || host.endsWith('.localhost')))
    throw invalid('is not a public address, and WEBHOOK_ALLOWED_HOSTS does not name it');
  return url;
}

function environmentReceiver(
  settings: Pick<ServiceSettings, 'webhookUrl' | 'webhookSecretFile'>,
): (() => Reach) | null {
  const { webhookUrl, webhookSecretFile } = settings;
  if (webhookUrl === undefined && webhookSecretFile === undefined) return null;
  if (webhookUrl === undefined || webhookSecretFile === undefined)
    throw commonError('SETTING_MISSING', 'WEBHOOK_URL and WEBHOOK_SECRET_FILE are set together or not at all');
  if (!URL.canParse(webhookUrl) || !/^https?:$/.test(new URL(webhookUrl).protocol))
    throw commonError('SETTING_INVALID', 'WEBHOOK_URL takes an https:// or http:// address');
  const url = new URL(webhookUrl);
  return () => ({
    // The path is left out: with many receivers it is the secret.
    name: `WEBHOOK_URL (${url.origin})`,
    url,
    secret: usableSecret(webhookSecretFile, 'WEBHOOK_SECRET_FILE'),
    guard: null,
    timeoutMs: environmentTimeoutMs,
  });
}

function usableSecret(path: string, place: string): string {
  const secret = readSecretFile(path, place);
  if (secret === '') throw commonError('SETTING_INVALID', `${place} names ${path}, which is empty`);
  registerSecret(secret);
  return secret;
}

/** Its place in the file may change, what it is told may not. */
function fileKey(url: string, tables: readonly string[] | undefined): string {
  const text = JSON.stringify([url, tables ?? null]);
  return `file:${createHash('sha256').update(text).digest('hex').slice(0, 32)}`;
}
