/** A proxy in front of a real server that spoils chosen answers. */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What happens to a request; null lets it pass. */
export type Spoil =
  /** Answered here; the server never sees it. */
  | { readonly answer: number; readonly code: string }
  /** The server does it, and the connection breaks before its answer. */
  | { readonly lose: true }
  /** The answer's body as it is changed, with a Content-Length that fits. */
  | { readonly change: (body: Buffer) => Buffer }
  /** The connection breaks after so many bytes of the answer's body. */
  | { readonly cutAfter: number }
  /** The server does it, and nothing more comes after so many bytes of the answer's body; null: no answer at all. */
  | { readonly stallAfter: number | null };

export interface HttpProxy extends AsyncDisposable {
  readonly address: string;
  /** Requests so far, as `METHOD /path?query`. */
  readonly requests: string[];
  spoil(choose: (method: string, url: string, count: number) => Spoil | null): void;
}

export async function startHttpProxy(target: { readonly host: string; readonly port: number }): Promise<HttpProxy> {
  const requests: string[] = [];
  let choose: Parameters<HttpProxy['spoil']>[0] = () => null;
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '' } = incoming;
    const spoiled = choose(method, url, requests.filter((each) => each.startsWith(`${method} `)).length + 1);
    requests.push(`${method} ${url}`);
    if (spoiled !== null && 'answer' in spoiled) refuse(incoming, outgoing, spoiled.answer, spoiled.code);
    else forward(target, incoming, outgoing, spoiled);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A server that listens on TCP has an address of this kind.
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}`,
    requests,
    spoil(next) {
      requests.length = 0;
      choose = next;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function refuse(incoming: IncomingMessage, outgoing: ServerResponse, status: number, code: string): void {
  incoming.resume();
  incoming.on('end', () => {
    const body =
      status < 300 ? '' : `<?xml version="1.0"?><Error><Code>${code}</Code><Message>spoiled</Message></Error>`;
    outgoing
      .writeHead(status, { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) })
      .end(body);
  });
}

function forward(
  target: { readonly host: string; readonly port: number },
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  spoiled: Exclude<Spoil, { answer: number }> | null,
): void {
  const { method, url, headers } = incoming;
  const upstream = request({ ...target, method, path: url, headers, agent: false }, (answer) => {
    const parts: Buffer[] = [];
    answer.on('data', (part: Buffer) => parts.push(part));
    answer.on('end', () => {
      const body = Buffer.concat(parts);
      const head = { ...answer.headers };
      if (spoiled !== null && 'lose' in spoiled) outgoing.destroy();
      else if (spoiled !== null && 'stallAfter' in spoiled) {
        if (spoiled.stallAfter === null) return;
        outgoing.writeHead(answer.statusCode ?? 500, head);
        outgoing.write(body.subarray(0, spoiled.stallAfter));
      } else if (spoiled !== null && 'cutAfter' in spoiled) {
        outgoing.writeHead(answer.statusCode ?? 500, head);
        outgoing.write(body.subarray(0, spoiled.cutAfter), () => outgoing.destroy());
      } else {
        const changed = spoiled === null ? body : spoiled.change(body);
        if (method !== 'HEAD' && head['content-length'] !== undefined) head['content-length'] = String(changed.length);
        outgoing.writeHead(answer.statusCode ?? 500, head).end(changed);
      }
    });
  });
  upstream.on('error', () => outgoing.destroy());
  incoming.pipe(upstream);
}
