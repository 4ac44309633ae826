import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { TestServer } from '../../test/servers.ts';

/**
 * What happens to one COMMIT on its way. lose-reply: the server gets it, the client never hears of it. lose-commit: the server gets nothing, and the connection
 * breaks on both sides. linger: likewise, but the server's session stays, with its transaction open.
 */
export type Cut = 'lose-reply' | 'lose-commit' | 'linger';

export interface CommitCutter {
  /** DB_HOST and DB_PORT of the way through it. */
  readonly environment: Readonly<Record<string, string>>;
  readonly cut: () => boolean;
}

const comQuery = 3;

/**
 * Stands between a program and the server and cuts one COMMIT of a batch: the first one with `after` such commits before it. It goes by the headers of MySQL's
 * packets.
 */
export async function openCommitCutter(server: TestServer, cut: Cut, after = 0): Promise<CommitCutter> {
  let commits = 0;
  let done = false;
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const upstream = connect(server.address.port, server.address.host);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
    }
    let silent = false;
    let pending: Buffer = Buffer.alloc(0);
    client.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 4 && pending.length >= 4 + pending.readUIntLE(0, 3)) {
        const packet = pending.subarray(0, 4 + pending.readUIntLE(0, 3));
        pending = pending.subarray(packet.length);
        if (!done && isCommit(packet) && commits++ === after) {
          done = true;
          silent = true;
          if (cut === 'lose-reply') {
            upstream.once('data', () => {
              client.destroy();
              upstream.destroy();
            });
            upstream.write(packet);
          } else {
            client.destroy();
            if (cut === 'lose-commit') upstream.destroy();
          }
          return;
        }
        if (!silent) upstream.write(packet);
      }
    });
    upstream.on('data', (chunk) => {
      if (!silent) client.write(chunk);
    });
    client.on('close', () => {
      if (!silent) upstream.destroy();
    });
    upstream.on('close', () => client.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  const address = proxy.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return { environment: { DB_HOST: '127.0.0.1', DB_PORT: String(port) }, cut: () => done };
}

/** MySQL's packets may have attributes of the query before its text. */
function isCommit(packet: Buffer): boolean {
  return (
    packet[4] === comQuery &&
    packet.length <= 4 + 1 + attributeBytesMax + 6 &&
    packet.toString('latin1').endsWith('COMMIT')
  );
}

const attributeBytesMax = 4;
