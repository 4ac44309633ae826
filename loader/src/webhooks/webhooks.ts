import { AppError, commonError } from '@tableset/common/errors.ts';
import { readSecretFile } from '@tableset/common/settings/settings.ts';
import type { WebhookSettings } from '../config/schema.ts';
import { loaderError } from '../errors.ts';
import type { AddressGuard } from '../http/guarded-lookup.ts';
import { type Delivery, deliver, type WebhookTiming, webhookTiming } from './deliver.ts';
import { noticeOf, type TableChange } from './notice.ts';

export interface WebhookContext {
  readonly warn: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  /** For addresses that came in through an API. Those of the operator's own file are trusted: null. */
  readonly guard: AddressGuard | null;
  readonly timing?: Partial<WebhookTiming>;
}

export interface Webhooks {
  /**
   * Tells every receiver of the changes that concern it: one after the other in the given order, receivers side by side. To be called after
   * the commit, and only with changes that wrote something. Never throws: what could not be told comes back as warnings (WEBHOOK_FAILED).
   */
  tell(changes: readonly TableChange[], signal: AbortSignal): Promise<readonly AppError[]>;
}

/**
 * Prepares the receivers, so that a missing secret ends a run before it writes anything.
 * @throws AppError CONFIG_UNREADABLE or SETTING_INVALID for a secret that cannot be used.
 */
export function openWebhooks(settings: readonly WebhookSettings[], context: WebhookContext): Webhooks {
  const receivers = settings.map((webhook, index) => receiverOf(webhook, `webhooks[${index}]`, context));
  return {
    async tell(changes, signal) {
      const warnings = await Promise.all(receivers.map((receiver) => tellInOrder(receiver, changes, signal)));
      return warnings.flat();
    },
  };
}

interface Receiver {
  readonly delivery: Delivery;
  readonly tables: ReadonlySet<string> | null;
}

function receiverOf(webhook: WebhookSettings, place: string, context: WebhookContext): Receiver {
  const url = new URL(webhook.url);
  // The path is left out: with many receivers it is the secret.
  const name = `${place} (${url.origin})`;
  const secret = readSecretFile(webhook.secretFile, `${place}.secretFile`);
  if (secret === '')
    throw commonError('SETTING_INVALID', `${place}.secretFile names ${webhook.secretFile}, which is empty`);
  if (url.protocol === 'http:') context.warn('a webhook is told over plain http', { webhook: name });
  const delivery: Delivery = {
    name,
    url,
    secret,
    guard: context.guard,
    timeoutMs: webhook.timeoutSeconds * 1000,
    attempts: webhook.attempts,
    timing: { ...webhookTiming, ...context.timing },
  };
  return { delivery, tables: webhook.tables ? new Set(webhook.tables) : null };
}

async function tellInOrder(
  { delivery, tables }: Receiver,
  changes: readonly TableChange[],
  signal: AbortSignal,
): Promise<AppError[]> {
  const notices = changes.filter(({ table }) => tables?.has(table) ?? true).map(noticeOf);
  const warnings: AppError[] = [];
  for (const [index, notice] of notices.entries()) {
    const result = await deliver(delivery, notice, signal);
    if (result.outcome === 'told') continue;
    const after = notices.length - index - 1;
    const giveUp = result.outcome === 'unreachable' && after > 0;
    // A receiver that is down is not waited for once per table: the exit of an init container would wait along.
    const rest = giveUp ? `, nor of the ${after} after it` : '';
    const cause = result.error;
    const failed = (message: string) =>
      loaderError('WEBHOOK_FAILED', message, { cause, details: { webhook: delivery.name, table: notice.table } });
    warnings.push(
      cause instanceof AppError && cause.code === 'WEBHOOK_ADDRESS_REFUSED'
        ? cause
        : failed(`${delivery.name} was not told of ${notice.table}${rest}: ${result.reason}`),
    );
    if (giveUp) break;
  }
  return warnings;
}
