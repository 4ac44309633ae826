import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { quickQueries, quickQuery } from '../src/database/quick-query.ts';
import type { DatabaseSettings } from '../src/settings/database.ts';

const signal = new AbortController().signal;

function settingsOf(
  environment: Readonly<Record<string, string>>,
  changes: Partial<DatabaseSettings> = {},
): DatabaseSettings {
  return {
    host: environment['DB_HOST'] ?? '',
    port: Number(environment['DB_PORT']),
    user: environment['DB_USER'] ?? '',
    password: environment['DB_PASSWORD'] ?? '',
    name: environment['DB_NAME'] ?? '',
    tls: 'disable',
    tlsCaFile: undefined,
    waitSeconds: 5,
    singleWriter: false,
    ...changes,
  };
}

describeEachServer('a quick query', (server) => {
  test('gives rows as text, short and long, NULL and characters of four bytes', async () => {
    const schema = await server.createSchema();
    // The first login of an account by caching_sha2_password needs more than the quick way knows; any driver's login caches it.
    await (await schema.connect()).end();
    const sql =
      "SELECT DATABASE() AS here, NULL AS nothing, 'ä€😀' AS text, REPEAT('x', 300) AS longer, REPEAT('y', 70000) AS longest UNION ALL SELECT '', 1, '', '', ''";
    const answer = await quickQuery(settingsOf(schema.environment), sql, { timeoutMs: 5000, signal });
    expect(answer?.version).toContain(server.flavour === 'mariadb' ? 'MariaDB' : '.');
    expect(answer?.rows).toEqual([
      { here: schema.name, nothing: null, text: 'ä€😀', longer: 'x'.repeat(300), longest: 'y'.repeat(70000) },
      { here: '', nothing: '1', text: '', longer: '', longest: '' },
    ]);
  });

  test('asks several questions of one session, and gives null if one of them fails', async () => {
    const schema = await server.createSchema();
    await (await schema.connect()).end();
    const settings = settingsOf(schema.environment);
    const ask = async (...statements: readonly string[]) =>
      (await quickQueries(settings, statements, { timeoutMs: 5000, signal }))?.results;
    const set = "SET SESSION time_zone='+03:00', sql_mode='ANSI_QUOTES'";
    const none = 'SELECT 1 AS one FROM DUAL WHERE 1 = 0';
    expect(await ask(set, 'SELECT @@time_zone AS zone', none, 'SELECT @@sql_mode AS mode')).toEqual([
      [],
      [{ zone: '+03:00' }],
      [],
      [{ mode: 'ANSI_QUOTES' }],
    ]);
    expect(await ask(set, 'SELECT * FROM nothing', 'SELECT 1 AS one')).toBeUndefined();
    expect(await ask('SELECT 1 AS one', set)).toBeUndefined();
  });

  test('gives null for every failure, and leaves it to the driver to word', async () => {
    const schema = await server.createSchema();
    await (await schema.connect()).end();
    const plain = settingsOf(schema.environment);
    const ask = (settings: DatabaseSettings, sql = 'SELECT 1 AS n', timeoutMs = 5000) =>
      quickQuery(settings, sql, { timeoutMs, signal });
    expect(await ask(plain)).not.toBeNull();
    expect(await ask({ ...plain, password: 'wrong' })).toBeNull();
    expect(await ask({ ...plain, name: 'no_such_schema' })).toBeNull();
    expect(await ask({ ...plain, tls: 'require' })).toBeNull();
    expect(await ask({ ...plain, port: 1 })).toBeNull();
    expect(await ask(plain, 'SELECT * FROM nothing')).toBeNull();
    expect(await ask(plain, 'DO 1')).toBeNull();
    expect(await ask(plain, 'SELECT SLEEP(2)', 300)).toBeNull();
    expect(await quickQuery(plain, 'SELECT 1', { timeoutMs: 5000, signal: AbortSignal.abort() })).toBeNull();
  });
});

test('a quick query gives null to whatever a peer sends that is no server', async () => {
  for (const greeting of [
    '',
    'HTTP/1.1 400 Bad Request\r\n\r\n',
    '\x05\0\0\0\x0a9.7',
    '\xff\xff\xff\0',
    '\x01\0\0\0\xff',
  ]) {
    const peer = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(Buffer.from(greeting, 'latin1'));
    });
    peer.listen(0, '127.0.0.1');
    await once(peer, 'listening');
    const address = peer.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const settings = settingsOf({
      DB_HOST: '127.0.0.1',
      DB_PORT: String(port),
      DB_USER: 'u',
      DB_PASSWORD: 'p',
      DB_NAME: 's',
    });
    expect(await quickQuery(settings, 'SELECT 1', { timeoutMs: 1000, signal }), JSON.stringify(greeting)).toBeNull();
    peer.close();
  }
});
