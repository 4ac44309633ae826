import { expect, test } from 'vitest';
import { describeEachServer, type TestServer } from '../../test/servers.ts';
import { ArchiveFolder, archiveSchema, sameServer } from './run-archive.ts';
import { csv } from './run-loader.ts';

const dayMs = 86_400_000;

interface Kind {
  readonly name: string;
  readonly type: string;
  readonly entry: Readonly<Record<string, unknown>>;
  /** How the column has a time of so many milliseconds since 1970. */
  readonly cell: (ms: number) => string;
  /** What the column holds where there is no date. */
  readonly none: string;
}

const kinds: readonly Kind[] = [
  {
    name: 'seconds in an integer',
    type: 'INT NULL',
    entry: { dateType: 'epoch-seconds' },
    cell: (ms) => String(Math.floor(ms / 1000)),
    none: '0',
  },
  {
    name: 'milliseconds in an integer',
    type: 'BIGINT UNSIGNED NULL',
    entry: { dateType: 'epoch-milliseconds' },
    cell: (ms) => String(ms),
    none: '0',
  },
  {
    name: 'a DATE',
    type: 'DATE NULL',
    entry: {},
    cell: (ms) => new Date(ms).toISOString().slice(0, 10),
    none: '0000-00-00',
  },
  {
    name: 'a DATETIME',
    type: 'DATETIME(3) NULL',
    entry: {},
    cell: (ms) => new Date(ms).toISOString().slice(0, 23).replace('T', ' '),
    none: '0000-00-00 00:00:00',
  },
];

/** Events with the keys 1 to 5 that are old, 6 to 8 that are not, and 9 without a date. */
function rows({ cell, none }: Kind, now: number): readonly (readonly (string | null)[])[] {
  const old = [1, 2, 3, 4, 5].map((id) => [String(id), cell(now - (100 + id) * dayMs), 'old']);
  const fresh = [6, 7, 8].map((id) => [String(id), cell(now - id * dayMs), 'fresh']);
  return [...old, ...fresh, ['9', none, 'undated']];
}

async function open(server: TestServer, kind: Kind) {
  const schema = await server.createSchema();
  const archive = await archiveSchema(server, schema);
  await schema.script(
    `CREATE TABLE events (id INT PRIMARY KEY, at ${kind.type}, note VARCHAR(20) NOT NULL, KEY at (at));
     CREATE TABLE details (id INT PRIMARY KEY, event_id INT NOT NULL, FOREIGN KEY (event_id) REFERENCES events (id))`,
  );
  const folder = new ArchiveFolder(schema, {
    ...sameServer(archive, [{ table: 'events', dateColumn: 'at', children: ['details'], ...kind.entry }]),
    load: [
      { table: 'events', source: 'events.csv', columns: { at: { allowZeroDates: true } } },
      { table: 'details', source: 'details.csv' },
    ],
  });
  const now = Date.now();
  const source = rows(kind, now);
  const write = (more: readonly (readonly (string | null)[])[] = []) =>
    folder.write('events.csv', csv(['id', 'at', 'note'], [...source, ...more]));
  write();
  folder.write('details.csv', `id,event_id\n${source.map(([id]) => `${100 + Number(id)},${id}`).join('\n')}\n`);
  const load = async () => {
    const run = await folder.run('load');
    if (run.exit !== 0) throw new Error(`${JSON.stringify(run.summary)}\n${run.stderr}`);
    return run.summary.tables;
  };
  const ids = async () => (await schema.query('SELECT id FROM events ORDER BY id')).map((row) => row['id']);
  return { schema, folder, now, write, load, ids };
}

describeEachServer('a load after archiving', (server) => {
  for (const kind of kinds) {
    test(`does not bring archived rows back where the date is ${kind.name}, nor their children, and takes what is new`, async () => {
      const { schema, folder, now, write, load, ids } = await open(server, kind);
      expect(await load()).toMatchObject([{ inserted: 9 }, { inserted: 9 }]);
      expect(await folder.archive()).toMatchObject([{ archived: 5 }, { archived: 5 }]);
      expect(await ids()).toEqual([6, 7, 8, 9]);
      expect(await load()).toMatchObject([
        { read: 9, held: 5, unchanged: 4, inserted: 0 },
        { read: 9, held: 5, unchanged: 4, inserted: 0 },
      ]);
      // Rows that were never archived, whatever their date is, and one that is old and new to the table.
      await schema.script('DELETE FROM details WHERE event_id IN (8, 9); DELETE FROM events WHERE id IN (8, 9)');
      write([
        ['10', kind.cell(now - dayMs), 'new'],
        ['11', kind.cell(now - 400 * dayMs), 'new and old'],
        ['12', null, 'without a date'],
      ]);
      expect(await load()).toMatchObject([
        { read: 12, held: 6, inserted: 4 },
        { held: 5, inserted: 2 },
      ]);
      expect(await ids()).toEqual([6, 7, 8, 9, 10, 12]);
      // An old row that is still there may be changed.
      expect(await folder.archive()).toMatchObject([{ archived: 0 }, { archived: 0 }]);
    });
  }

  test('a DATE that is the day of the cut-off was not archived, and comes in', async () => {
    const kind = kinds[2] as Kind;
    const { schema, folder, now, write, load, ids } = await open(server, kind);
    await load();
    await schema.query('INSERT INTO events VALUES (20, UTC_DATE() - INTERVAL 30 DAY, ?)', ['edge']);
    await folder.archive();
    expect(await ids()).toEqual([6, 7, 8, 9, 20]);
    await schema.query('DELETE FROM events WHERE id = 20');
    write([['20', kind.cell(now - 30 * dayMs), 'edge']]);
    expect(await load()).toMatchObject([{ inserted: 1, held: 5 }, {}]);
  });

  test('the watermark of an integer column is raised and never lowered', async () => {
    const { schema, folder, load } = await open(server, kinds[0] as Kind);
    await load();
    await folder.archive();
    const watermark = async () =>
      (
        await schema.query(
          'SELECT archived_before, CAST(archived_below AS CHAR) AS below FROM tableset_tables WHERE date_column IS NOT NULL',
        )
      )[0];
    const first = await watermark();
    const asNumber = Math.floor(Date.parse(`${String(first?.['archived_before']).replace(' ', 'T')}Z`) / 1000);
    expect(Number(first?.['below'])).toBe(asNumber);
    const configure = async (archiveAfterDays: number) => {
      const sections = JSON.parse(await folder.read('config.yaml'));
      sections.archive[0].archiveAfterDays = archiveAfterDays;
      folder.configure(sections);
    };
    await configure(200);
    await schema.query('INSERT INTO events VALUES (30, 86400, ?)', ['very old']);
    expect(await folder.archive()).toMatchObject([{ archived: 1 }, {}]);
    expect(await watermark()).toEqual(first);
    await configure(7);
    expect(await folder.archive()).toMatchObject([{ archived: 2 }, {}]);
    expect(Number((await watermark())?.['below'])).toBeGreaterThan(asNumber + 20 * 86_400);
  });

  test('an integer watermark that the ledger does not know is refused, not guessed', async () => {
    const { schema, folder, load } = await open(server, kinds[0] as Kind);
    await load();
    await folder.archive();
    await schema.query('UPDATE tableset_tables SET archived_below = NULL');
    const run = await folder.run('load');
    expect(run).toMatchObject({ exit: 3, summary: { error: { code: 'LOAD_TABLE_UNSUITABLE' } } });
    expect(run.summary.error?.hint).toContain('loader archive');
  });
});
