import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TestCertificate } from '../../test/certificate.ts';

export interface TestHttpServer extends AsyncDisposable {
  readonly origin: string;
  readonly port: number;
  /** Every request that came, in order. */
  readonly requests: readonly IncomingMessage[];
}

export type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

/** A server on this machine whose handler also learns which request this is, counted from 1. */
export async function serve(handler: Handler, certificate?: TestCertificate): Promise<TestHttpServer> {
  const requests: IncomingMessage[] = [];
  const listener: RequestListener = (request, response) => handler(request, response, requests.push(request));
  const server: Server = certificate
    ? createSecureServer({ key: certificate.key, cert: certificate.certificate }, listener)
    : createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A server that listens on TCP has an address of this kind.
  const { port } = server.address() as AddressInfo;
  return {
    origin: `${certificate ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Sends the content in one piece, with its length and, if given, an ETag; honours Range and If-Match. */
export function sendContent(
  request: IncomingMessage,
  response: ServerResponse,
  content: Buffer | string,
  etag?: string,
): void {
  const whole = Buffer.from(content);
  const condition = request.headers['if-match'];
  if (condition !== undefined && condition !== etag) {
    response.writeHead(412).end();
    return;
  }
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const part = whole.subarray(start);
  response.writeHead(start > 0 ? 206 : 200, {
    'content-length': part.length,
    ...(etag === undefined ? {} : { etag }),
    ...(start > 0 ? { 'content-range': `bytes ${start}-${whole.length - 1}/${whole.length}` } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : part);
}

/** Promises the whole content, sends the first `bytes` of it, and breaks the connection. */
export function breakOff(
  request: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
  bytes: number,
  etag?: string,
): void {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const part = content.subarray(start);
  response.writeHead(start > 0 ? 206 : 200, {
    'content-length': part.length,
    ...(etag === undefined ? {} : { etag }),
    ...(start > 0 ? { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` } : {}),
  });
  response.write(part.subarray(0, bytes), () => setTimeout(() => response.destroy(), 20));
}
