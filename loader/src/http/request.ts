import { type ClientRequest, type IncomingMessage, request as plainRequest, type RequestOptions } from 'node:http';
import { request as secureRequest } from 'node:https';
import type { LookupFunction } from 'node:net';

export interface HttpRequest {
  readonly url: URL;
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  readonly connectTimeoutMs: number;
  /** From the request to the first line of the answer. */
  readonly responseTimeoutMs: number;
  readonly signal: AbortSignal;
  /** Authorities to trust instead of the built-in ones, PEM. */
  readonly ca?: string;
  /** Resolves the host's name in place of the system. */
  readonly lookup?: LookupFunction;
  /** Gives this request a connection of its own, which nothing else was or will be sent on. */
  readonly ownConnection?: boolean;
}

/** A request that got no answer in time. */
export class HttpTimeout extends Error {
  readonly code = 'ETIMEDOUT';
}

/**
 * Sends one request and gives the answer once its headers came; redirects are the caller's business, and so is the body, which
 * must be read or destroyed. Throws what node throws, HttpTimeout, or the signal's reason.
 */
export async function sendRequest(options: HttpRequest): Promise<IncomingMessage> {
  const { url, signal } = options;
  signal.throwIfAborted();
  const secure = url.protocol === 'https:';
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const requestOptions: RequestOptions & { ca?: string } = {
    method: options.method,
    headers: { ...options.headers, ...(options.body ? { 'content-length': String(options.body.length) } : {}) },
    ...(options.ca === undefined ? {} : { ca: options.ca }),
    ...(options.lookup ? { lookup: options.lookup } : {}),
    ...(options.ownConnection ? { agent: false } : {}),
  };
  const request = (secure ? secureRequest : plainRequest)(url, requestOptions, resolve);
  const onAbort = () => request.destroy(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const stopWatching = watchDeadlines(request, secure, options);
  request.on('error', reject);
  request.end(options.body);
  try {
    const response = await promise;
    // The body's errors reach whoever reads it; without a reader they must not end the process.
    response.on('error', () => {});
    return response;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    stopWatching();
    signal.removeEventListener('abort', onAbort);
  }
}

function watchDeadlines(
  request: ClientRequest,
  secure: boolean,
  { connectTimeoutMs, responseTimeoutMs }: HttpRequest,
): () => void {
  const expire = (what: string, ms: number) =>
    setTimeout(() => request.destroy(new HttpTimeout(`${what} within ${ms} ms`)), ms);
  let timer = expire('no connection', connectTimeoutMs);
  request.once('socket', (socket) => {
    const connected = () => {
      clearTimeout(timer);
      timer = expire('no answer', responseTimeoutMs);
    };
    if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', connected);
    else connected();
  });
  request.once('close', () => clearTimeout(timer));
  return () => clearTimeout(timer);
}
