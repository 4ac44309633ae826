import { once } from 'node:events';
import { createServer, connect as dial, type Socket } from 'node:net';

/**
 * A TCP proxy before a database server that counts what clients send. mysql2 sends each command in one write and waits for
 * the answer, so that the n-th chunk is the n-th command (after the handshake).
 */
export class CountingProxy implements AsyncDisposable {
  readonly #server;
  readonly #sockets = new Set<Socket>();
  /** Chunks that clients sent so far. */
  sent = 0;
  /** Called for each chunk before it is forwarded, with its number from 1; false keeps it from the server. */
  onCommand: (number: number) => boolean = () => true;

  constructor(host: string, port: number) {
    this.#server = createServer((client) => {
      const upstream = dial(port, host);
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        socket.setNoDelay(true);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          this.#sockets.delete(socket);
          client.destroy();
          upstream.destroy();
        });
      }
      client.on('data', (chunk) => {
        this.sent += 1;
        if (this.onCommand(this.sent)) upstream.write(chunk);
      });
      upstream.on('data', (chunk) => client.write(chunk));
    });
  }

  /** Listens on a free port and returns it. */
  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
    return address.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
