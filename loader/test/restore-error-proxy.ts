import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { TestServer } from '../../test/servers.ts';

export interface ErrorProxy {
  /** DB_HOST and DB_PORT of the way through it. */
  readonly environment: Readonly<Record<string, string>>;
  /** How many statements were answered with the error. */
  readonly answered: () => number;
}

/** Stands between a program and the server and answers statements like this with an error of the server's, which never sees them. */
export async function openErrorProxy(server: TestServer, statement: RegExp, errno: number): Promise<ErrorProxy> {
  let answered = 0;
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const upstream = connect(server.address.port, server.address.host);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => other.destroy());
    }
    upstream.pipe(client);
    let pending: Buffer = Buffer.alloc(0);
    client.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 4 && pending.length >= 4 + pending.readUIntLE(0, 3)) {
        const packet = pending.subarray(0, 4 + pending.readUIntLE(0, 3));
        pending = pending.subarray(packet.length);
        // 3 is COM_QUERY; attributes may stand before its text.
        if (packet[3] === 0 && packet[4] === 3 && statement.test(packet.toString('latin1', 5))) {
          answered++;
          client.write(errorPacket(errno));
        } else upstream.write(packet);
      }
    });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  const address = proxy.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return { environment: { DB_HOST: '127.0.0.1', DB_PORT: String(port) }, answered: () => answered };
}

function errorPacket(errno: number): Buffer {
  const body = Buffer.concat([Buffer.of(0xff, errno & 0xff, errno >> 8), Buffer.from('#HY000refused by the test')]);
  const header = Buffer.alloc(4);
  header.writeUIntLE(body.length, 0, 3);
  header[3] = 1;
  return Buffer.concat([header, body]);
}
