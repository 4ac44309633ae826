import { type AddressInfo, createServer } from 'node:net';
import { Readable } from 'node:stream';
import { connect } from '@tableset/common/database/connect.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import { afterEach, describe, expect, test } from 'vitest';

/** What the rogue asks for instead of the file that the statement names. */
const askedPath = '/proc/self/environ';
const canary = 'canary-in-the-environment';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  delete process.env['TABLESET_TEST_CANARY'];
  for (const close of closers.splice(0)) await close();
});

/**
 * A server that lets everybody in, answers what a session asks at its start, and answers any other statement by asking for a file of
 * the client's. It speaks just as much of the protocol as that takes.
 */
async function startRogue() {
  const received: Buffer[] = [];
  const server = createServer((socket) => {
    let stage: 'login' | 'statements' | 'file' = 'login';
    socket.on('error', () => socket.destroy());
    socket.write(packet(0, greeting()));
    socket.on('data', (chunk) => {
      if (stage === 'login') {
        stage = 'statements';
        socket.write(packet(2, ok));
      } else if (stage === 'file') {
        received.push(chunk);
        // An empty packet ends the file.
        if (chunk.length >= 4 && chunk.subarray(-4, -1).every((byte) => byte === 0)) socket.write(packet(9, ok));
      } else {
        const sql = chunk.subarray(5).toString();
        if (sql.startsWith('SELECT')) socket.write(factsAnswer(sql));
        else if (sql.startsWith('SET') || sql.startsWith('SHOW VARIABLES'))
          socket.write(sql.startsWith('SET') ? packet(1, ok) : emptyAnswer());
        else {
          stage = 'file';
          socket.write(packet(1, Buffer.concat([Buffer.from([0xfb]), Buffer.from(askedPath)])));
        }
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => new Promise((resolve) => server.close(() => resolve())));
  // A TCP server that listens has an address with a port.
  const settings: DatabaseSettings = {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    user: 'u',
    password: 'p',
    name: 'd',
    tls: 'disable',
    tlsCaFile: undefined,
    waitSeconds: 0,
    singleWriter: false,
  };
  return { settings, sent: () => Buffer.concat(received).toString('latin1') };
}

const ok = Buffer.from([0, 0, 0, 2, 0, 0, 0]);
const end = Buffer.from([0xfe, 0, 0, 2, 0]);

function packet(sequence: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUIntLE(payload.length, 0, 3);
  head[3] = sequence;
  return Buffer.concat([head, payload]);
}

function greeting(): Buffer {
  const capabilities = 0x0008 | 0x0080 | 0x0200 | 0x2000 | 0x8000 | 0x80000;
  const head = Buffer.concat([
    Buffer.from([10]),
    Buffer.from('9.7.0\0'),
    Buffer.from([1, 0, 0, 0]),
    Buffer.from('12345678\0'),
  ]);
  const flags = Buffer.alloc(18);
  flags.writeUInt16LE(capabilities & 0xffff, 0);
  flags[2] = 45;
  flags.writeUInt16LE(2, 3);
  flags.writeUInt16LE(capabilities >>> 16, 5);
  flags[7] = 21;
  return Buffer.concat([head, flags, Buffer.from('123456789012\0'), Buffer.from('mysql_native_password\0')]);
}

function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
}

/** Answers with one row in which every column that the statement names is 1, but the version. */
function factsAnswer(sql: string): Buffer {
  const names = Array.from(sql.matchAll(/(?:AS )?(\w+)(?=,|$)/g), (match) => match[1] ?? '');
  const columns = names.map((name) =>
    Buffer.concat([
      text('def'),
      text(''),
      text(''),
      text(''),
      text(name),
      text(''),
      Buffer.from([12, 45, 0, 255, 0, 0, 0, 253, 0, 0, 0, 0, 0]),
    ]),
  );
  const values = names.map((name) => text(name === 'version' ? '9.7.0' : '1'));
  const payloads = [Buffer.from([names.length]), ...columns, end, Buffer.concat(values), end];
  return Buffer.concat(payloads.map((payload, index) => packet(index + 1, payload)));
}

function emptyAnswer(): Buffer {
  const column = Buffer.concat([
    text('def'),
    text(''),
    text(''),
    text(''),
    text('n'),
    text(''),
    Buffer.from([12, 45, 0, 255, 0, 0, 0, 253, 0, 0, 0, 0, 0]),
  ]);
  return Buffer.concat([Buffer.from([1]), column, end, end].map((payload, index) => packet(index + 1, payload)));
}

describe('a server that asks for a file of the client', () => {
  test('gets nothing from a session that loads no files', async () => {
    process.env['TABLESET_TEST_CANARY'] = canary;
    const rogue = await startRogue();
    await using connection = await connect(rogue.settings);
    await expect(connection.run('DO 1')).rejects.toThrow();
    expect(rogue.sent()).not.toContain(canary);
    expect(rogue.sent().replaceAll('\0', '')).not.toMatch(/[A-Z_]+=/);
    connection.destroy();
  });

  test('gets the rows that are being loaded, whatever file it names', async () => {
    process.env['TABLESET_TEST_CANARY'] = canary;
    const rogue = await startRogue();
    await using connection = await connect(rogue.settings, { localInfile: true });
    await connection.load("LOAD DATA LOCAL INFILE 'tableset' INTO TABLE t", Readable.from([Buffer.from('1\ta row\n')]));
    expect(rogue.sent()).toContain('1\ta row\n');
    expect(rogue.sent()).not.toContain(canary);
    connection.destroy();
  });
});
