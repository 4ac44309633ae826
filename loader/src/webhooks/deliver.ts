import { AppError } from '@tableset/common/errors.ts';
import { loaderError } from '../errors.ts';
import { delay } from '../http/delay.ts';
import { type AddressGuard, type GuardOptions, guardedLookup } from '../http/guarded-lookup.ts';
import { sendRequest } from '../http/request.ts';
import { type Notice, signatureHeader } from './notice.ts';

export interface WebhookTiming {
  /** Pause before the second try; it doubles each time. */
  readonly retryDelayMs: number;
  readonly retryDelayMsMax: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export const webhookTiming: WebhookTiming = { retryDelayMs: 1_000, retryDelayMsMax: 30_000, now: Date.now };

export interface Delivery {
  /** For messages: no path, which may be a secret. */
  readonly name: string;
  readonly url: URL;
  readonly secret: string;
  readonly guard: AddressGuard | null;
  /** All addresses of a name where there is a guard; the system's resolver by default. */
  readonly resolve?: GuardOptions['resolve'];
  /** For one try as a whole. */
  readonly timeoutMs: number;
  readonly attempts: number;
  readonly timing: WebhookTiming;
}

export type DeliveryResult =
  | { readonly outcome: 'told' }
  /** The receiver answered and will not have this notice; another may fare better. */
  | { readonly outcome: 'refused'; readonly reason: string; readonly error: unknown }
  /** No useful answer within all tries. */
  | { readonly outcome: 'unreachable'; readonly reason: string; readonly error: unknown };

/** Sends one notice until it is taken, refused, or the tries are used up. Never throws. */
export async function deliver(delivery: Delivery, notice: Notice, signal: AbortSignal): Promise<DeliveryResult> {
  const { attempts, timing } = delivery;
  for (let tries = 1; ; tries++) {
    const answer = await tryDelivery(delivery, notice, signal);
    if (answer.kind === 'told') return { outcome: 'told' };
    if (answer.kind === 'refused') return { outcome: 'refused', reason: answer.reason, error: answer.error };
    if (tries >= attempts || signal.aborted) {
      return {
        outcome: 'unreachable',
        reason: signal.aborted ? 'the run was stopped' : `${answer.reason}, ${tries} times`,
        error: answer.error,
      };
    }
    const pauseMs = Math.min(
      Math.max(answer.waitMs ?? 0, timing.retryDelayMs * 2 ** (tries - 1)),
      timing.retryDelayMsMax,
    );
    await delay(pauseMs, signal).catch(() => {
      // Stopped while waiting: the next try sees the signal and ends it.
    });
  }
}

/** What came of one try. */
export type TryAnswer =
  | { readonly kind: 'told' }
  | { readonly kind: 'refused'; readonly reason: string; readonly error: unknown }
  | { readonly kind: 'again'; readonly reason: string; readonly error: unknown; readonly waitMs: number | null };

/** Sends one notice once. Never throws. */
export async function tryDelivery(
  delivery: Omit<Delivery, 'attempts'>,
  notice: Notice,
  signal: AbortSignal,
): Promise<TryAnswer> {
  const { url, secret, guard, resolve, name, timeoutMs, timing } = delivery;
  const deadline = AbortSignal.timeout(timeoutMs);
  try {
    const failure = (host: string) =>
      loaderError('WEBHOOK_ADDRESS_REFUSED', `${name}: ${host} is not a public address`);
    const response = await sendRequest({
      url,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'tableset-loader',
        'tableset-event-id': notice.id,
        'tableset-signature': signatureHeader(secret, notice.body, Math.floor(timing.now() / 1000)),
      },
      body: notice.body,
      connectTimeoutMs: timeoutMs,
      responseTimeoutMs: timeoutMs,
      signal: AbortSignal.any([signal, deadline]),
      // A connection of its own: one from the pool would have been made to an address that nobody checked.
      ownConnection: true,
      ...(guard ? { lookup: guardedLookup(url, { guard, failure, ...(resolve ? { resolve } : {}) }) } : {}),
    });
    // Only the status counts; a body of whatever length is not waited for.
    response.destroy();
    return judge(response.statusCode ?? 0, response.headers['retry-after']);
  } catch (error) {
    if (error instanceof AppError) return { kind: 'refused', reason: error.message, error };
    const code = deadline.aborted
      ? `no answer within ${timeoutMs} ms`
      : error instanceof Error && 'code' in error
        ? String(error.code)
        : 'unknown error';
    return { kind: 'again', reason: `it cannot be reached (${code})`, error, waitMs: null };
  }
}

function judge(status: number, retryAfter: string | undefined): TryAnswer {
  if (status >= 200 && status < 300) return { kind: 'told' };
  const reason = `it answered ${status}`;
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const waitMs = retryAfter !== undefined && /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) * 1000 : null;
    return { kind: 'again', reason, error: null, waitMs };
  }
  // Redirects as well: following one would tell somebody whom the configuration does not name.
  return {
    kind: 'refused',
    reason: status >= 300 && status < 400 ? `${reason}, a redirect, which is not followed` : reason,
    error: null,
  };
}
