import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { onTestFinished } from 'vitest';

const ok = Buffer.from([0, 0, 0, 2, 0, 0, 0]);
const end = Buffer.from([0xfe, 0, 0, 2, 0]);

/**
 * A server that lets everybody in, answers what a session asks at its start, and says of itself that it is a replica so many seconds
 * behind, null while its replication is stopped. It speaks just as much of the protocol as that takes.
 */
export async function startFakeReplica(
  lag: () => string | null,
): Promise<{ readonly host: string; readonly port: number }> {
  const server = createServer((socket) => {
    let greeted = false;
    socket.on('error', () => socket.destroy());
    socket.write(packet(0, greeting()));
    socket.on('data', (chunk: Buffer) => {
      const sql = chunk.subarray(5).toString();
      if (!greeted) {
        greeted = true;
        socket.write(packet(2, ok));
      } else if (sql.includes('VERSION()')) {
        socket.write(answer({ version: '8.4.0', id: '7', packet_bytes: '67108864', local_files: '0', name_case: '0' }));
      } else if (sql.startsWith('SHOW REPLICA STATUS')) socket.write(answer({ Seconds_Behind_Source: lag() }));
      else if (sql.startsWith('SHOW')) socket.write(answer({ Variable_name: 'wsrep_on', Value: 'OFF' }));
      else socket.write(packet(1, ok));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  // A TCP server that listens has an address with a port.
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

function packet(sequence: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUIntLE(payload.length, 0, 3);
  head[3] = sequence;
  return Buffer.concat([head, payload]);
}

function greeting(): Buffer {
  const capabilities = 0x0008 | 0x0080 | 0x0200 | 0x2000 | 0x8000 | 0x80000;
  const flags = Buffer.alloc(18);
  flags.writeUInt16LE(capabilities & 0xffff, 0);
  flags[2] = 45;
  flags.writeUInt16LE(2, 3);
  flags.writeUInt16LE(capabilities >>> 16, 5);
  flags[7] = 21;
  const head = [Buffer.from([10]), Buffer.from('8.4.0\0'), Buffer.from([1, 0, 0, 0]), Buffer.from('12345678\0')];
  return Buffer.concat([...head, flags, Buffer.from('123456789012\0'), Buffer.from('mysql_native_password\0')]);
}

function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
}

/** One row of texts. */
function answer(row: Readonly<Record<string, string | null>>): Buffer {
  const columns = Object.keys(row).map((name) =>
    Buffer.concat([
      ...['def', '', '', '', name, ''].map(text),
      Buffer.from([12, 45, 0, 255, 0, 0, 0, 253, 0, 0, 0, 0, 0]),
    ]),
  );
  const cells = Object.values(row).map((value) => (value === null ? Buffer.from([0xfb]) : text(value)));
  const payloads = [Buffer.from([columns.length]), ...columns, end, Buffer.concat(cells), end];
  return Buffer.concat(payloads.map((payload, index) => packet(index + 1, payload)));
}
