import { createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { onTestFinished } from 'vitest';
import { serve } from '../../http-server.ts';

/** One notice as it came. */
export interface Told {
  readonly id: string;
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
}

export interface Receiver {
  readonly origin: string;
  readonly told: readonly Told[];
  /** Answers with this from now on; 0: not at all. */
  answer(status: number): void;
}

/** A receiver of webhooks that keeps what it is told; `onTold` is called before it answers. */
export async function receiver(onTold: (count: number) => void = () => {}): Promise<Receiver> {
  const told: Told[] = [];
  let status = 204;
  const server = await serve((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { headers } = request;
      told.push({ id: String(headers['tableset-event-id']), body: Buffer.concat(parts).toString(), headers });
      onTold(told.length);
      if (status !== 0) response.writeHead(status).end();
    });
  });
  onTestFinished(() => server[Symbol.asyncDispose]());
  return {
    origin: server.origin,
    told,
    answer(next) {
      status = next;
    },
  };
}

/** True if the signature is that of this secret over the time it names and the raw body. */
export function isSigned({ body, headers }: Told, secret: string): boolean {
  const [, seconds = '', digest = ''] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['tableset-signature'])) ?? [];
  const fresh = Math.abs(Date.now() / 1000 - Number(seconds)) < 300;
  return fresh && createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex') === digest;
}
