import { explainDatabaseError } from '@tableset/common/database/explain.ts';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { rounds } from '../../test/thoroughness.ts';
import { once } from './archive-two-server-hooks.ts';
import {
  archiveAll,
  archiveServer,
  type BenchOptions,
  expectTidy,
  fillShop,
  openBench,
  shopChildren,
  shopText,
  shopTogether,
  sums,
} from './archive-two-server-kit.ts';
import { type Fault, type FaultProxy, openFaultProxy } from './archive-two-server-proxy.ts';
import { hurryClock } from './hurried-clock.ts';

/** Every which packet of a run is cut. */
const stride = rounds(61, 13);

const children = shopChildren;

/** Statements on the archive's server and on the primary, one for each step that waits for an answer. */
const onArchive = {
  'the copy': /^LOAD DATA|^INSERT INTO .*`(orders|items|notes)`/,
  'the manifest': /^INSERT INTO .*tableset_manifests/,
  'the commit': /^COMMIT/,
  'the proof': /SHA2.* WHERE tableset_batch = /s,
};
const onPrimary = {
  'the read': /^SELECT .*SHA2.* ORDER BY t/s,
  'the ledger': /^UPDATE tableset_batches SET state/,
  'the lock of the rows': / FOR UPDATE$/,
  'the delete': /^DELETE .*orders/,
};

describeEachServer('faults of the network and of servers between two servers', (server) => {
  const other = archiveServer(server);
  const shop = async (options = {}) => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await fillShop(schema, { old: 25, fresh: 2, ...options });
    return { schema, archive, before: await shopText(schema) };
  };
  type Shop = Awaited<ReturnType<typeof shop>>;
  const through = (schema: TestSchema, proxy: FaultProxy): TestSchema => ({
    ...schema,
    environment: { ...schema.environment, ...proxy.environment },
  });

  /** One run; its error as a user would see it, or null. */
  async function attempt(schema: TestSchema, archive: TestSchema, options: BenchOptions = {}): Promise<unknown> {
    try {
      await using bench = await openBench(schema, archive, { children, ...options });
      await archiveAll(bench, 10);
      return null;
    } catch (error) {
      return explainDatabaseError(error) ?? error;
    }
  }

  /** Nothing is lost, doubled or altered, and one run without faults brings it to its end. */
  async function expectConvergence({ schema, archive, before }: Shop, what: string): Promise<void> {
    expect(await shopTogether(schema, archive), what).toEqual(before);
    expect(await attempt(schema, archive), what).toBeNull();
    expect(await shopTogether(schema, archive), what).toEqual(before);
    await expectTidy(schema, archive);
    expect(await schema.query('SELECT COUNT(*) AS n FROM orders'), what).toEqual([{ n: 2 }]);
    await schema.drop();
    await archive.drop();
  }

  test('a run that nothing strikes goes through unharmed', async () => {
    const made = await shop();
    const [primary, cold] = [await openFaultProxy(server), await openFaultProxy(other)];
    expect(await attempt(through(made.schema, primary), through(made.archive, cold))).toBeNull();
    expect([primary.struck, cold.struck]).toEqual([0, 0]);
    expect(Math.min(primary.packets, cold.packets)).toBeGreaterThan(30);
    await expectConvergence(made, 'unharmed');
  });

  test.each([
    ['half', 'the copy'],
    ['lost', 'the manifest'],
    ['lost', 'the commit'],
    ['unanswered', 'the commit'],
    ['half', 'the proof'],
  ] as const)('fault 17: the archive server breaks off (%s) at %s, and nothing is lost', async (fault, what) => {
    const made = await shop();
    const cold = await openFaultProxy(other);
    cold.strike(onArchive[what], fault, { skip: 1 });
    expect(await attempt(made.schema, through(made.archive, cold))).toMatchObject({
      code: 'STORE_UNAVAILABLE',
      exit: 1,
    });
    expect(cold.struck).toBe(1);
    await expectConvergence(made, what);
  });

  test.each([
    ['half', 'the read'],
    ['unanswered', 'the ledger'],
    ['lost', 'the lock of the rows'],
    ['unanswered', 'the delete'],
  ] as const)('faults 5 and 17: the primary breaks off (%s) at %s, and nothing is lost', async (fault, what) => {
    const made = await shop();
    const primary = await openFaultProxy(server);
    primary.strike(onPrimary[what], fault, { skip: 1 });
    expect(await attempt(through(made.schema, primary), made.archive)).toMatchObject({
      code: 'DATABASE_LOST',
      exit: 1,
    });
    expect(primary.struck).toBe(1);
    await expectConvergence(made, what);
  });

  test('faults 1 to 7 and 17: any packet on its way to either server is cut, and one rerun', async () => {
    const clean = await shop();
    const counted = [await openFaultProxy(server), await openFaultProxy(other)] as const;
    expect(await attempt(through(clean.schema, counted[0]), through(clean.archive, counted[1]))).toBeNull();
    const [onPrimary, onArchive] = counted.map(({ packets }) => packets) as [number, number]; // two are counted
    let cases = 0;
    for (const fault of ['lost', 'half', 'unanswered'] as const) {
      for (let k = 1 + (cases % stride); k <= onPrimary + onArchive; k += stride) {
        const made = await shop();
        const [primary, cold] = [await openFaultProxy(server), await openFaultProxy(other)];
        const [struck, at] = k <= onPrimary ? [primary, k] : [cold, k - onPrimary];
        struck.strikePacket(at, fault);
        const what = `${fault} ${struck === cold ? 'archive' : 'primary'} ${at}`;
        const error = await attempt(through(made.schema, primary), through(made.archive, cold));
        expect(error === null || (error as { exit?: number }).exit === 1, `${what}: ${String(error)}`).toBe(true);
        await expectConvergence(made, what);
        cases++;
      }
    }
    expect(cases).toBeGreaterThan(9);
  }, 1_800_000);

  test.each([
    [1205, 'lock wait timeout', true],
    [1213, 'deadlock', true],
    [1020, 'snapshot isolation', true],
    [1317, 'query interrupted', true],
    [3024, 'statement timeout', true],
    [1969, 'statement timeout of MariaDB', true],
    [1047, 'Galera is not ready', true],
    [1927, 'connection killed', false],
    [4031, 'idle for too long', false],
    [1290, 'read-only option', false],
    [1792, 'read-only transaction', false],
    [1836, 'read-only mode', false],
    [1114, 'table full', false],
    [1021, 'disk full', false],
  ])(
    'faults 11 to 16: error %i (%s) in the deleting transaction is retried as a whole, or ends the run',
    async (errno, _, retried) => {
      const made = await shop();
      const primary = await openFaultProxy(server);
      primary.strike(onPrimary[errno % 2 === 0 ? 'the lock of the rows' : 'the delete'], errno, { skip: 1 });
      const error = await attempt(through(made.schema, primary), made.archive);
      expect(primary.struck).toBe(1);
      if (retried) expect(error).toBeNull();
      else expect(error).toMatchObject({ exit: 1 });
      await expectConvergence(made, String(errno));
    },
  );

  test.each([
    [1213, 'deadlock'],
    [1205, 'lock wait timeout'],
    [1317, 'query interrupted'],
  ])(
    'faults 11, 12 and 16: error %i (%s) again and again ends the run after a bounded number of times',
    async (errno) => {
      const made = await shop();
      const primary = await openFaultProxy(server);
      primary.strike(onPrimary['the delete'], errno, { times: 1000 });
      {
        // The pauses between the attempts grow to some seconds.
        using _ = hurryClock(150, 7000);
        expect(await attempt(through(made.schema, primary), made.archive)).toMatchObject({ exit: 1 });
      }
      expect(primary.struck).toBeLessThanOrEqual(8);
      expect(await made.schema.query("SELECT DISTINCT state FROM tableset_batches WHERE state <> 'copying'")).toEqual([
        { state: 'verified' },
      ]);
      await expectConvergence(made, String(errno));
    },
  );

  test.each([
    [1114, 'table full', 'the copy'],
    [1021, 'disk full', 'the commit'],
    [3, 'EIO or ENOSPC while writing', 'the copy'],
    [1290, 'read-only option', 'the manifest'],
    [1836, 'read-only mode', 'the copy'],
    [1142, 'no right to it any more', 'the proof'],
    [1205, 'lock wait timeout', 'the manifest'],
    [1317, 'query interrupted', 'the proof'],
  ] as const)(
    'faults 13 and 20: error %i (%s) of the archive server at %s stops the run before a delete',
    async (errno, _, what) => {
      const made = await shop();
      const cold = await openFaultProxy(other);
      cold.strike(onArchive[what], errno);
      const error = await attempt(made.schema, through(made.archive, cold));
      expect(cold.struck).toBe(1);
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', exit: 1 });
      expect(await made.schema.query('SELECT COUNT(*) AS n FROM orders')).toEqual([{ n: 27 }]);
      await expectConvergence(made, what);
    },
  );

  test('fault 14: an archive server without room for another connection is waited for within the deadline', async () => {
    const made = await shop();
    const cold = await openFaultProxy(other);
    cold.refuse(2);
    expect(await attempt(made.schema, through(made.archive, cold))).toBeNull();
    await expectConvergence(made, 'room again');
    const again = await shop();
    cold.refuse(1000);
    expect(await attempt(again.schema, through(again.archive, cold))).toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      exit: 1,
    });
    await expectConvergence(again, 'no room');
  });

  test.each(['BIGINT UNSIGNED', 'DECIMAL(20,0)'])(
    'fault 15: no packet is larger than either server takes, with a key of %s',
    async (idType) => {
      const made = await shop({ old: 600, idType });
      const [primary, cold] = [await openFaultProxy(server), await openFaultProxy(other)];
      primary.limitPackets(24 * 1024);
      cold.limitPackets(96 * 1024);
      {
        await using bench = await openBench(through(made.schema, primary), through(made.archive, cold), { children });
        expect(sums(await archiveAll(bench, 600), 'orders').archived).toBe(600);
      }
      await expectConvergence(made, 'small packets');
    },
  );

  test('fault 15: a row that no packet of the archive server holds is sent in pieces, or refused by its key', async () => {
    const made = await shop();
    await made.schema.query("UPDATE orders SET note = REPEAT('x', 60000) WHERE id = 12");
    const before = await shopText(made.schema);
    const cold = await openFaultProxy(other);
    cold.limitPackets(80 * 1024);
    // Where no file can be sent a row is part of a statement.
    cold.rewrite('@@local_infile', '0');
    expect(await attempt(made.schema, through(made.archive, cold))).toMatchObject({
      code: 'ARCHIVE_VALUE_REFUSED',
      message: expect.stringMatching(/begins with \(.?12\b/),
    });
    expect(await made.schema.query('SELECT COUNT(*) AS n FROM orders WHERE id = 12')).toEqual([{ n: 1 }]);
    cold.limitPackets(40 * 1024);
    cold.rewrite('@@local_infile', '1');
    expect(await attempt(made.schema, through(made.archive, cold))).toBeNull();
    expect(await made.schema.query('SELECT COUNT(*) AS n FROM orders')).toEqual([{ n: 2 }]);
    await expectConvergence({ ...made, before }, 'a large row');
  });

  for (const step of ['write', 'seal', 'hashes'] as const) {
    test(`fault 20: an archive server that is gone at ${step} of the second batch ends the run, and nothing more is deleted`, async () => {
      const made = await shop();
      const cold = await openFaultProxy(other);
      const wrap = once(step, 'before', step === 'write' ? 4 : 2, async () => cold.vanish());
      const error = await attempt(made.schema, through(made.archive, cold), { wrap });
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', exit: 1 });
      await expectConvergence(made, step);
    });
  }

  test('fault 24: an account of the archive that is refused in the middle of a run stops it before a delete', async () => {
    const made = await shop();
    const expire = async () => {
      await other.query(`ALTER USER ${made.archive.user}@'%' IDENTIFIED BY 'expired'`);
      const sessions = await other.query('SELECT id AS id FROM information_schema.processlist WHERE user = ?', [
        made.archive.user,
      ]);
      for (const { id } of sessions) await other.query(`KILL ${String(id)}`).catch(() => undefined);
    };
    const error = await attempt(made.schema, made.archive, { wrap: once('seal', 'before', 2, expire) });
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(String(error)).not.toContain(made.archive.password);
    await other.query(`ALTER USER ${made.archive.user}@'%' IDENTIFIED BY '${made.archive.password}'`);
    await expectConvergence(made, 'refused');
  });

  test.each(['write', 'seal', 'hashes'] as const)(
    "fault 18: the lock's session is killed before a %s of the second batch, and nothing more is deleted",
    async (step) => {
      const made = await shop();
      const kill = async () => {
        const [run] = await made.schema.query('SELECT connection_id AS id FROM tableset_runs ORDER BY id DESC LIMIT 1');
        await server.query(`KILL ${String(run?.['id'])}`);
      };
      const error = await attempt(made.schema, made.archive, {
        wrap: once(step, 'before', step === 'seal' ? 2 : 4, kill),
      });
      expect(error).toMatchObject({ code: expect.stringMatching(/^(DATABASE_LOST|LOCK_LOST)$/), exit: 1 });
      await expectConvergence(made, step);
    },
  );

  test('fault 17: a server that goes silent is given up after a deadline, on either side', {
    timeout: 180_000,
  }, async () => {
    const cases: readonly (readonly ['primary' | 'archive', RegExp])[] = [
      ['archive', onArchive['the copy']],
      ['archive', onArchive['the commit']],
      ['archive', onArchive['the proof']],
      ['primary', onPrimary['the read']],
      ['primary', onPrimary['the delete']],
    ];
    const stall: Fault = 'stalled';
    const shops = await Promise.all(cases.map(() => shop()));
    {
      // Half a minute of silence.
      using _ = hurryClock(30_000, 30_000);
      await Promise.all(
        shops.map(async ({ schema, archive }, index) => {
          const [side, statement] = cases[index] ?? ['primary', /never/];
          const proxy = await openFaultProxy(side === 'primary' ? server : other);
          proxy.strike(statement, stall, { skip: 1 });
          // By the clock that goes on as ever.
          const started = Date.now();
          const error =
            side === 'primary'
              ? await attempt(through(schema, proxy), archive)
              : await attempt(schema, through(archive, proxy));
          expect(error, `${side} ${statement}`).toMatchObject({ exit: 1 });
          expect(proxy.struck, `${side} ${statement}`).toBe(1);
          expect(Date.now() - started).toBeLessThan(60_000);
        }),
      );
    }
    // The server itself may not have noticed yet that a session's client is gone.
    for (const [index, made] of shops.entries()) await expectConvergence(made, String(cases[index]));
  });
});
