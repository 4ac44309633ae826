import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/**
 * What becomes of one packet of a client. A number: the server never sees it, and the client is told this error. lost: the connection breaks before the server
 * has it. half: the server has half of it. unanswered: the server has it, and the connection breaks instead of the answer. half-answered: the client gets half of
 * the answer's first part. stalled: neither side hears anything more. noticed: nothing; who asked to be told is told.
 */
export type Fault = number | 'lost' | 'half' | 'unanswered' | 'half-answered' | 'stalled' | 'noticed';

export interface FaultProxy extends AsyncDisposable {
  readonly port: number;
  /** DB_HOST and DB_PORT of the way through it. */
  readonly environment: Readonly<Record<string, string>>;
  /** Strikes the next statements that are like this, so many of them, after `skip` others. */
  strike(statement: RegExp, fault: Fault, options?: { readonly skip?: number; readonly times?: number }): void;
  /** Strikes the client's k-th packet, counted from 1 over all connections and from the first after the login. */
  strikePacket(k: number, fault: Fault): void;
  /** Tells so many new clients that there are too many connections. */
  refuse(clients: number): void;
  /** Has the server asked something else from now on. */
  rewrite(part: string, replacement: string): void;
  /** Takes packets of so many bytes and says so when asked. */
  limitPackets(bytes: number): void;
  /** The server is gone: connections break and no new ones are taken. */
  vanish(): void;
  /** How often something was struck. */
  readonly struck: number;
  /** Packets of clients after their login; those of the login too where the proxy was asked to count them. */
  readonly packets: number;
  /** Sessions that are open through it. */
  readonly sessions: number;
}

export interface FaultProxyOptions {
  /** Told of every packet before anything is done with it: its number, and its statement if it is one. */
  readonly onPacket?: (k: number, statement: string | null) => void;
  /** Told once the fault has been carried out: with an answer, when the server has given it. */
  readonly onStrike?: (fault: Fault) => void;
  readonly countLogins?: boolean;
}

interface Rule {
  readonly statement: RegExp;
  readonly fault: Fault;
  skip: number;
  times: number;
}

const comQuery = 3;

/** Stands between a program and the server, and goes by the headers of MySQL's packets. */
export async function startFaultProxy(
  address: { readonly host: string; readonly port: number },
  { onPacket = () => {}, onStrike = () => {}, countLogins = false }: FaultProxyOptions = {},
): Promise<FaultProxy> {
  const rules: Rule[] = [];
  const rewritten = new Map<string, string>();
  const sockets = new Set<Socket>();
  let [struck, packets, refusing, packetBytesMax] = [0, 0, 0, Number.POSITIVE_INFINITY];
  let target: { readonly k: number; readonly fault: Fault } | null = null;

  const faultOf = (packet: Buffer): Fault | null => {
    packets++;
    const text = statementOf(packet);
    onPacket(packets, text);
    if (target?.k === packets) return target.fault;
    if (text === null) return null;
    for (const rule of rules) {
      if (!rule.statement.test(text) || rule.times === 0) continue;
      if (rule.skip-- > 0) continue;
      rule.times--;
      return rule.fault;
    }
    return null;
  };

  const proxy = createServer((client) => {
    if (refusing > 0) {
      refusing--;
      client.end(errorPacket(1040, 0));
      return;
    }
    const upstream = connect(address.port, address.host);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    }
    let silent = false;
    let loggedIn = false;
    let pending: Buffer = Buffer.alloc(0);
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    const carryOut = (fault: Fault, packet: Buffer): void => {
      struck++;
      if (typeof fault === 'number' || fault === 'noticed') {
        if (fault === 'noticed') upstream.write(packet);
        else client.write(errorPacket(fault, (packet[3] ?? 0) + 1));
        onStrike(fault);
        return;
      }
      silent = true;
      if (fault === 'unanswered' || fault === 'half-answered') {
        upstream.once('data', (answer: Buffer) => {
          onStrike(fault);
          if (fault === 'unanswered') end();
          else client.write(answer.subarray(0, answer.length >> 1), () => end());
        });
        upstream.write(packet);
        return;
      }
      onStrike(fault);
      if (fault === 'half') upstream.end(packet.subarray(0, packet.length >> 1), end);
      else if (fault === 'lost') end();
    };
    client.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (!silent && pending.length >= 4 && pending.length >= 4 + pending.readUIntLE(0, 3)) {
        const packet = pending.subarray(0, 4 + pending.readUIntLE(0, 3));
        pending = pending.subarray(packet.length);
        // The first packet of a client is its login, and so are those that follow until it begins to count anew.
        loggedIn ||= packet[3] === 0;
        const fault = loggedIn || countLogins ? faultOf(packet) : null;
        if (fault !== null) carryOut(fault, packet);
        else if (packet.length - 4 > packetBytesMax) {
          client.write(errorPacket(1153, (packet[3] ?? 0) + 1));
          end();
        } else upstream.write(rewrittenPacket(packet, rewritten));
      }
    });
    upstream.on('data', (chunk) => {
      if (!silent) client.write(chunk);
    });
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const close = () => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  };
  const bound = proxy.address();
  const port = typeof bound === 'object' && bound ? bound.port : 0;
  return {
    port,
    environment: { DB_HOST: '127.0.0.1', DB_PORT: String(port) },
    strike: (statement, fault, { skip = 0, times = 1 } = {}) => void rules.push({ statement, fault, skip, times }),
    strikePacket: (k, fault) => {
      target = { k, fault };
    },
    refuse: (clients) => {
      refusing = clients;
    },
    rewrite: (part, replacement) => void rewritten.set(part, replacement),
    limitPackets: (bytes) => {
      packetBytesMax = bytes;
      rewritten.set('@@max_allowed_packet', String(bytes));
    },
    vanish: close,
    get struck() {
      return struck;
    },
    get packets() {
      return packets;
    },
    get sessions() {
      // Two sockets each.
      return sockets.size >> 1;
    },
    async [Symbol.asyncDispose]() {
      close();
    },
  };
}

/** Null for a packet that is no statement, as those of a file are. */
function statementOf(packet: Buffer): string | null {
  if (packet[3] !== 0 || packet[4] !== comQuery) return null;
  return packet.toString('latin1', textStart(packet));
}

/** No attributes, of which there is one set, may stand before the text. */
function textStart(packet: Buffer): number {
  return packet[5] === 0 && packet[6] === 1 ? 7 : 5;
}

/** The statement with these parts of it replaced. */
function rewrittenPacket(packet: Buffer, parts: ReadonlyMap<string, string>): Buffer {
  const text = statementOf(packet);
  if (text === null || parts.size === 0) return packet;
  let changed = text;
  for (const [part, replacement] of parts) changed = changed.replaceAll(part, replacement);
  if (changed === text) return packet;
  const start = textStart(packet);
  const head = Buffer.from(packet.subarray(0, start));
  head.writeUIntLE(start - 4 + changed.length, 0, 3);
  return Buffer.concat([head, Buffer.from(changed, 'latin1')]);
}

function errorPacket(errno: number, sequence: number): Buffer {
  const body = Buffer.concat([
    Buffer.from([0xff, errno & 0xff, errno >> 8]),
    Buffer.from('#HY000struck by the test', 'latin1'),
  ]);
  const head = Buffer.alloc(4);
  head.writeUIntLE(body.length, 0, 3);
  head[3] = sequence;
  return Buffer.concat([head, body]);
}
