import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { openShop, type Shop } from './archive-shop.ts';
import { archiveServer } from './archive-two-server-kit.ts';
import { ArchiveFolder, type ArchiveRun, type ArchiveVerb, sameServer } from './run-archive.ts';

/** The statements of one block of the documentation, which is written for schema `shop`, its archive `shop_archive` and account `archiver`. */
function documented(heading: string): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, '../../docs/operations.md'), 'utf8');
  const section = text.slice(text.indexOf('## Grants: archive'));
  const block = section.slice(section.indexOf(`### ${heading}\n`)).match(/```sql\n(.*?)```/s)?.[1];
  if (block === undefined) throw new Error(`docs/operations.md has no SQL under ${heading}`);
  return block
    .split('\n')
    .map((line) => line.replace(/;.*/, '').trim())
    .filter((statement) => statement.startsWith('GRANT'));
}

const everyVerb = documented('Every verb');

/** A shop whose old orders are archived or wait for it, with the archive's tables and the ledger made, and what archives it. */
async function prepare(server: TestServer, archived: boolean): Promise<Shop> {
  const shop = await openShop(server, { old: 30, fresh: 5, items: 2 });
  shop.folder.configure(sections(shop));
  // The ledger is made by the first run of anything.
  expect((await shop.folder.run('verify')).exit).toBe(0);
  if (archived) await shop.folder.archive();
  return shop;
}

const entry = { table: 'orders', children: ['order_items'], deleteAfterDays: 90 };

function sections({ archive }: Pick<Shop, 'archive'>) {
  return sameServer(archive, [entry], { batchRows: 10 });
}

/** Makes an account with these grants alone; `schemas` are the real ones by their documented names. */
async function makeAccount(
  server: TestServer,
  user: string,
  grants: readonly string[],
  schemas: Readonly<Record<string, string>>,
): Promise<{ readonly user: string; readonly password: string }> {
  await server.query(`DROP USER IF EXISTS ${user}@'%'`);
  await server.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'secret of ${user}'`);
  onTestFinished(async () => void (await server.query(`DROP USER IF EXISTS ${user}@'%'`)));
  for (const grant of grants) {
    const real = grant.replace(/ON (\w+)\./, (_, name: string) => `ON ${schemas[name]}.`);
    await server.query(real.replace(/'\w+'@'%'/, `${user}@'%'`));
  }
  return { user, password: `secret of ${user}` };
}

/** A folder that runs the shop's verbs with an account of these grants alone. */
async function limited(
  server: TestServer,
  { schema, archive }: Pick<Shop, 'schema' | 'archive'>,
  grants: readonly string[],
): Promise<ArchiveFolder> {
  const schemas = { shop: schema.name, shop_archive: archive.name, shop_drill: archive.name };
  const { user, password } = await makeAccount(server, `a${schema.name.slice(4)}`, grants, schemas);
  const environment = { ...schema.environment, DB_USER: user, DB_PASSWORD: password };
  return new ArchiveFolder({ environment }, sections({ archive }));
}

/** Each list of grants that lacks one privilege of these, with that privilege's name; first the one that is asked for once alone, to make tables. */
function lackingOne(grants: readonly string[]): readonly { lacks: string; grants: readonly string[] }[] {
  const all = grants.flatMap((grant, at) => {
    const [, list = '', on = ''] = /^GRANT (.+?) ON (\S+)/.exec(grant) ?? [];
    const privileges = list.split(', ');
    return privileges.map((privilege) => {
      const rest = privileges.filter((each) => each !== privilege);
      const left = rest.length === 0 ? [] : [grant.replace(list, rest.join(', '))];
      return { lacks: `${privilege} ON ${on}`, grants: grants.toSpliced(at, 1, ...left) };
    });
  });
  return all.toSorted((a, b) => Number(b.lacks.startsWith('CREATE')) - Number(a.lacks.startsWith('CREATE')));
}

interface VerbCase {
  readonly verb: ArchiveVerb;
  readonly words: readonly string[];
  /** Whether there is to be something in the archive before. */
  readonly archived: boolean;
  /** What shows that it did its work. */
  readonly done: object;
  /** Privileges that only what seldom happens takes. */
  readonly seldom: readonly string[];
}

const cases: readonly VerbCase[] = [
  {
    verb: 'archive',
    words: [],
    archived: false,
    done: {
      tables: [
        { table: 'orders', matched: 30, deleted: 30 },
        { table: 'order_items', matched: 60, deleted: 60 },
      ],
    },
    seldom: ['DELETE ON shop_archive.*'],
  },
  {
    verb: 'restore',
    words: ['--table', 'orders', '--where', 'id=7'],
    archived: true,
    done: { tables: [{ restored: 1 }, { restored: 2 }] },
    seldom: ['UPDATE ON shop.orders', 'UPDATE ON shop.order_items'],
  },
  { verb: 'verify', words: [], archived: true, done: { tables: [{ batches: 3, rows: 90, verified: 3 }] }, seldom: [] },
  {
    verb: 'purge',
    words: [],
    archived: true,
    done: { tables: [{ table: 'orders', purged: 30 }, { purged: 60 }] },
    seldom: [],
  },
];

function expectDone(run: ArchiveRun, done: object): void {
  expect(run, run.stderr).toMatchObject({ exit: 0, summary: { outcome: 'done', ...done } });
}

describeEachServer('an account with exactly the documented grants', (server) => {
  describe.each(cases)('for $verb', ({ verb, words, archived, done, seldom }) => {
    const grants = [...everyVerb, ...documented(verb)];

    test('does all of it', async () => {
      const shop = await prepare(server, archived);
      expectDone(await (await limited(server, shop, grants)).run(verb, words), done);
    });

    test('does not without any one of them, and says so', { timeout: 180_000 }, async () => {
      let shop = await prepare(server, archived);
      let before = await contents(shop);
      for (const { lacks, grants: fewer } of lackingOne(grants)) {
        if (seldom.includes(lacks)) continue;
        const run = await (await limited(server, shop, fewer)).run(verb, words);
        expect(run.exit, `${verb} without ${lacks}`).not.toBe(0);
        expect(refusals, `${verb} without ${lacks}`).toContain(run.summary.error?.code);
        const after = await contents(shop);
        expect(after.orders + (verb === 'archive' ? after.archived : 0), lacks).toBe(
          before.orders + (verb === 'archive' ? before.archived : 0),
        );
        // Some are needed only after the first rows.
        if (JSON.stringify(after) === JSON.stringify(before)) continue;
        shop = await prepare(server, archived);
        before = await contents(shop);
      }
    });
  });
});

describeEachServer('an account with the documented grants', (server) => {
  const other = archiveServer(server);

  test('says what is archived, with SELECT alone', async () => {
    const shop = await prepare(server, true);
    const selects = everyVerb.filter((grant) => grant.startsWith('GRANT SELECT'));
    const run = await (await limited(server, shop, selects)).run('status', ['--key', 'id=7']);
    expectDone(run, { batches: [{ state: 'deleted', found: 1 }] });
    const more = [...selects, "GRANT TRIGGER ON shop.* TO 'archiver'@'%'"];
    expectDone(await (await limited(server, shop, more)).run('status'), {
      tables: [{ rows: 90, waiting: { rows: 0 } }],
    });
  });

  test('drills in a schema of its own', async () => {
    const shop = await prepare(server, true);
    const grants = [...everyVerb, ...documented('verify'), ...documented('verify --drill')];
    const words = ['--drill', '--drill-schema', shop.archive.name];
    const run = await (await limited(server, shop, grants)).run('verify', words);
    expectDone(run, { drill: true, tables: [{ batches: 3, verified: 3 }] });
  });

  test('archives to another server and works there, with the grants for that on both', async () => {
    const shop = await openShop(server, { old: 30, fresh: 5, items: 2 });
    // A key of two columns goes by way of a temporary table.
    await shop.schema.query(
      'ALTER TABLE order_items MODIFY id INT NOT NULL, DROP PRIMARY KEY, ADD PRIMARY KEY (order_id, id)',
    );
    expect((await shop.folder.run('verify')).exit).toBe(0);
    const archive = await other.createSchema();
    const keeper = await makeAccount(other, `k${archive.name.slice(4)}`, documented(ownAccount), {
      shop_archive: archive.name,
    });
    const onPrimary = (...headings: readonly string[]) =>
      headings.flatMap(documented).filter((grant) => !grant.includes('shop_archive'));
    const folderWith = async (...headings: readonly string[]) => {
      const folder = await limited(server, shop, onPrimary('Every verb', ...headings));
      const { DB_HOST: host, DB_PORT: port } = archive.environment;
      const login = { host, port: Number(port), user: keeper.user, passwordFile: 'password', name: archive.name };
      folder.write('password', keeper.password);
      const { stores: _, ...rest } = sections(shop);
      folder.configure({ stores: { cold: { mysql: { ...login, acceptNotDurable: true } } }, ...rest });
      return folder;
    };
    const without = await (await folderWith('archive')).refuse(2, 'DATABASE_GRANT_MISSING');
    expect(without.summary.error?.message).toMatch(/temporary/i);
    expect(await shop.schema.query('SELECT id FROM orders')).toHaveLength(35);
    const run = await (await folderWith('archive', 'archive to a store elsewhere')).run();
    expectDone(run, { tables: [{ matched: 30, deleted: 30 }, { deleted: 60 }] });
    const [, restore, verify, purge] = cases;
    for (const each of [restore, verify, purge]) {
      if (each) expectDone(await (await folderWith(each.verb)).run(each.verb, each.words), {});
    }
    // The batch of the restored order is held.
    expect(await archive.query('SELECT id FROM orders')).toHaveLength(10);
  });
});

const ownAccount = "The store's own account on another server";
const refusals = ['DATABASE_GRANT_MISSING', 'ARCHIVE_TABLE_UNSUITABLE', 'DATABASE_ACCESS_DENIED'];

/** How many orders the shop has, and how many versions of orders its archive. */
async function contents({ schema, archive }: Shop) {
  const count = async (of: TestSchema) => Number((await of.query('SELECT COUNT(*) AS n FROM orders'))[0]?.['n']);
  const tables = await archive.query('SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE()');
  return { orders: await count(schema), archived: tables.length === 0 ? 0 : await count(archive) };
}
