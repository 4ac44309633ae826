import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '@tableset/common/database/connect.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from 'testcontainers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { selfSigned, type TestCertificate } from '../../test/certificate.ts';
import { describeEachServer } from '../../test/servers.ts';
import { type Guard, guardCommand } from '../../tools/embedded-database/guard.ts';

function settingsOf(environment: Readonly<Record<string, string>>, tls: DatabaseSettings['tls']): DatabaseSettings {
  return {
    host: environment['DB_HOST'] ?? '',
    port: Number(environment['DB_PORT']),
    user: environment['DB_USER'] ?? '',
    password: environment['DB_PASSWORD'] ?? '',
    name: environment['DB_NAME'] ?? '',
    tls,
    tlsCaFile: undefined,
    waitSeconds: 0,
    singleWriter: false,
  };
}

describeEachServer('a connection through someone who takes TLS out of the greeting', (server) => {
  test.each(['require', 'verify'] as const)('with DB_TLS=%s is refused before the password is sent', async (tls) => {
    const schema = await server.createSchema();
    await using proxy = await startStrippingProxy(server.address);
    const settings = { ...settingsOf(schema.environment, tls), host: '127.0.0.1', port: proxy.port };
    await expect(connect(settings)).rejects.toMatchObject({ code: 'DATABASE_TLS', exit: 2 });
    expect(proxy.sentByClient(), 'bytes from the client').toBe(0);
  });

  test('without TLS goes through, so that the proxy itself is not what refuses', async () => {
    const schema = await server.createSchema();
    await using proxy = await startStrippingProxy(server.address);
    await using connection = await connect({
      ...settingsOf(schema.environment, 'disable'),
      host: '127.0.0.1',
      port: proxy.port,
    });
    expect(await connection.row('SELECT DATABASE() AS name')).toEqual({ name: schema.name });
  });
});

/** Clears the capability CLIENT_SSL (0x0800) in the server's first packet, as an attacker between the two would. */
async function startStrippingProxy(target: { readonly host: string; readonly port: number }) {
  let sent = 0;
  const sockets = new Set<Socket>();
  const proxy = createServer((client) => {
    const upstream = connectSocket(target.port, target.host);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => sockets.delete(socket));
    }
    upstream.once('data', (greeting) => {
      // Four bytes of header, the protocol, the version up to its NUL, the thread id, eight bytes of salt and a filler come first.
      const capabilities = greeting.indexOf(0, 5) + 1 + 4 + 8 + 1;
      greeting.writeUInt16LE(greeting.readUInt16LE(capabilities) & ~0x0800, capabilities);
      client.write(greeting);
      upstream.pipe(client);
    });
    client.on('data', (bytes) => {
      sent += bytes.length;
      upstream.write(bytes);
    });
    client.on('close', () => upstream.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return {
    // A TCP server that listens has an address with a port.
    port: (proxy.address() as AddressInfo).port,
    sentByClient: () => sent,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}

/** Where containers cannot be run, no server with certificates of ours can be had, and that is said; in CI they can. */
const runtimeFault = await getContainerRuntimeClient().then(
  () => null,
  (error: unknown) => String(error),
);
if (runtimeFault !== null) console.log(`\n!!! Certificates were not tested: no container runtime (${runtimeFault})\n`);
const required = Boolean(process.env['CI']) || Boolean(process.env['REQUIRE_SERVERS']);

const images = [
  {
    flavour: 'mysql',
    image: process.env['TEST_MYSQL_IMAGE'] || 'mysql:9.7',
    prefix: 'MYSQL',
    reload: 'ALTER INSTANCE RELOAD TLS',
  },
  {
    flavour: 'mariadb',
    image: process.env['TEST_MARIADB_IMAGE'] || 'mariadb:11.8',
    prefix: 'MARIADB',
    reload: 'FLUSH SSL',
  },
] as const;

describe.skipIf(runtimeFault !== null && !required).each(images)(
  'the certificate of $flavour',
  ({ flavour, image, prefix, reload }) => {
    const password = 'tls canary';
    let container: StartedTestContainer;
    let guard: Guard;
    let folder: string;

    beforeAll(async () => {
      process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
      folder = await mkdtemp(join(tmpdir(), 'tls-'));
      container = await new GenericContainer(image)
        .withExposedPorts(3306)
        .withEnvironment({ [`${prefix}_ROOT_PASSWORD`]: password, [`${prefix}_DATABASE`]: 'shop' })
        .withCopyContentToContainer(files(selfSigned()))
        .withCommand(['--ssl-cert=/tls/cert.pem', '--ssl-key=/tls/key.pem'])
        .withTmpFs({ '/var/lib/mysql': 'rw' })
        .withWaitStrategy(Wait.forListeningPorts())
        .start();
      guard = guardCommand('docker', ['rm', '--force', '--volumes', container.getId()]);
    }, 120_000);
    afterAll(async () => {
      await container?.stop({ timeout: 0 });
      await guard?.[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    });

    function files({ certificate, key }: TestCertificate) {
      return [
        { content: certificate, target: '/tls/cert.pem', mode: 0o644 },
        { content: key, target: '/tls/key.pem', mode: 0o644 },
      ];
    }

    function settings(tls: DatabaseSettings['tls'], tlsCaFile?: string): DatabaseSettings {
      const host = '127.0.0.1';
      return {
        host,
        port: container.getMappedPort(3306),
        user: 'root',
        password,
        name: 'shop',
        tls,
        tlsCaFile,
        waitSeconds: 20,
        singleWriter: false,
      };
    }

    /** Has the server show this certificate, and returns the path of it as an authority. */
    async function install(certificate: TestCertificate): Promise<string> {
      await container.copyContentToContainer(files(certificate));
      await using connection = await connect(settings('disable'));
      await connection.run(reload);
      const path = join(folder, `${Math.random().toString(36).slice(2)}.pem`);
      await writeFile(path, certificate.certificate);
      return path;
    }

    test('of the right host and authority is accepted, and the session is encrypted', async () => {
      const authority = await install(selfSigned());
      await using connection = await connect(settings('verify', authority));
      const status = await connection.row("SHOW SESSION STATUS LIKE 'Ssl_cipher'");
      expect(status?.['Value']).not.toBe('');
    });

    test('for another host is refused', async () => {
      const authority = await install(selfSigned(new Date(), '127.0.0.2'));
      await expect(connect(settings('verify', authority))).rejects.toMatchObject({ code: 'DATABASE_TLS' });
      await using connection = await connect(settings('require'));
      expect(connection.lost).toBe(false);
    });

    test('of another authority is refused', async () => {
      await install(selfSigned());
      const other = join(folder, 'other.pem');
      await writeFile(other, selfSigned().certificate);
      await expect(connect(settings('verify', other))).rejects.toMatchObject({ code: 'DATABASE_TLS' });
      await expect(connect(settings('verify'))).rejects.toMatchObject({ code: 'DATABASE_TLS' });
    });

    test('that has expired is refused', async () => {
      const expired = selfSigned(new Date(Date.now() - 3 * 86_400_000));
      if (flavour === 'mysql') {
        // This server does not even take one.
        await expect(install(expired)).rejects.toMatchObject({ errno: 3888 });
        return;
      }

      const authority = await install(expired);
      await expect(connect(settings('verify', authority))).rejects.toMatchObject({ code: 'DATABASE_TLS' });
    });
  },
);
