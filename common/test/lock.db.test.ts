import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { connect, delay } from '../src/database/connect.ts';
import { explainDatabaseError } from '../src/database/connection.ts';
import { acquireLock, lockName } from '../src/database/lock.ts';
import { AppError } from '../src/errors.ts';
import type { DatabaseSettings } from '../src/settings/database.ts';

function settingsOf(schema: TestSchema): DatabaseSettings {
  const { environment, name, user, password } = schema;
  const address = { host: environment['DB_HOST'] ?? '', port: Number(environment['DB_PORT']), user, password, name };
  return { ...address, tls: 'disable', tlsCaFile: undefined, waitSeconds: 0, singleWriter: false };
}

describeEachServer('the lock of a schema', (server) => {
  const fail = { onBusy: 'fail', lockWaitSeconds: 1 } as const;

  test('has one holder, who can prove it, and is free when the holder lets go', async () => {
    const settings = settingsOf(await server.createSchema());
    await using first = await connect(settings);
    await using second = await connect(settings);
    {
      await using lock = await acquireLock(first, fail);
      await lock?.assertHeld();
      expect(await acquireLock(second, { ...fail, onBusy: 'skip' })).toBeNull();
      await expect(acquireLock(second, fail)).rejects.toMatchObject({
        code: 'LOCK_BUSY',
        exit: 75,
        message: expect.stringContaining(`connection ${first.id}`),
      });
    }
    await using lock = await acquireLock(second, fail);
    await lock?.assertHeld();
  });

  test('names its holder also while somebody runs a statement with an emoji in it', async () => {
    const settings = settingsOf(await server.createSchema());
    await using first = await connect(settings);
    await using second = await connect(settings);
    await using writer = await connect(settings);
    await using _held = await acquireLock(first, fail);
    const writing = writer.rows("SELECT SLEEP(1), '😀'");
    await delay(200);
    await expect(acquireLock(second, fail)).rejects.toMatchObject({
      code: 'LOCK_BUSY',
      message: expect.stringContaining(`connection ${first.id}`),
    });
    await writing;
  });

  test('that was lost with its connection is noticed before the next write', async () => {
    const settings = settingsOf(await server.createSchema());
    await using connection = await connect(settings);
    const lock = await acquireLock(connection, fail);
    await server.query(`KILL ${connection.id}`);
    const error: unknown = await lock?.assertHeld().catch((thrown: unknown) => thrown);
    expect(error instanceof AppError ? error : explainDatabaseError(error)).toMatchObject({ exit: 1 });
    await lock?.[Symbol.asyncDispose]();
    await using next = await connect(settings);
    await using again = await acquireLock(next, { onBusy: 'wait', lockWaitSeconds: 5 });
    await again?.assertHeld();
  });

  test('that somebody else released is noticed before the next write', async () => {
    await using connection = await connect(settingsOf(await server.createSchema()));
    await using lock = await acquireLock(connection, fail);
    await connection.run('DO RELEASE_LOCK(?)', [lockName(connection)]);
    await expect(lock?.assertHeld()).rejects.toMatchObject({ code: 'LOCK_LOST', exit: 1 });
  });

  test('is waited for until the stop signal', async () => {
    const settings = settingsOf(await server.createSchema());
    await using holder = await connect(settings);
    await using _held = await acquireLock(holder, fail);
    const controller = new AbortController();
    await using waiting = await connect(settings, { signal: controller.signal });
    const started = performance.now();
    const wait = acquireLock(waiting, { onBusy: 'wait', lockWaitSeconds: 60 }, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('stop')), 300);
    await expect(wait).rejects.toThrow();
    expect(performance.now() - started).toBeLessThan(8_000);
  });

  test('has a name that tells schemas apart by case where the server does, and fits its limit', async () => {
    const settings = settingsOf(await server.createSchema());
    await using connection = await connect(settings);
    const upper = {
      ...connection,
      settings: { ...settings, name: settings.name.toUpperCase() },
      server: connection.server,
    };
    // Only the name and the facts of the server are looked at.
    const name = lockName(upper as unknown as typeof connection);
    expect(name === lockName(connection)).toBe(connection.server.lowerCaseTableNames !== 0);
    expect(name.length).toBeLessThanOrEqual(64);
  });
});
