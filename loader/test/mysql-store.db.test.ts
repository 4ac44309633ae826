import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteString } from '@tableset/common/database/quoting.ts';
import { describe, expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import type { ArchivedTable } from '../src/core/archive/archive-set.ts';
import { batchDigest, type CanonicalRow, isBinaryColumn, rowHash } from '../src/core/archive/canonical.ts';
import { type Manifest, manifestFormat } from '../src/core/archive/manifest.ts';
import { createStatistics, readStatistics, statisticsAggregates } from '../src/core/archive/statistics.ts';
import { readRoot, rowFacts } from '../src/core/archive/two-server-sql.ts';
import { type MysqlStore, openMysqlStore } from '../src/stores/mysql-store.ts';
import { readCells } from '../src/stores/mysql-store-cells.ts';
import { archivedTable, archiveServer, settingsOf, storeSettings } from './archive-two-server-kit.ts';
import { typeCases } from './type-values.ts';

const signal = new AbortController().signal;

interface Opened extends AsyncDisposable {
  readonly connection: Connection;
  readonly store: MysqlStore;
}

async function open(schema: TestSchema, archive: TestSchema): Promise<Opened> {
  const connection = await connect(settingsOf(schema));
  try {
    const store = await openMysqlStore(storeSettings(archive), { primary: connection, signal, warn: () => {} });
    return {
      connection,
      store,
      async [Symbol.asyncDispose]() {
        await store[Symbol.asyncDispose]();
        await connection[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

/** All rows of a table as the primary gives them, with their hashes. */
async function readAll(connection: Connection, table: ArchivedTable) {
  const everything = { indexHint: '', within: () => ({ sql: 'TRUE', values: [] }) };
  // The two parts of a selection that are asked for.
  const { sql } = readRoot(table, everything as unknown as Parameters<typeof readRoot>[1], {
    after: null,
    last: { date: null, key: [] },
  });
  const facts = rowFacts(table);
  const rows: CanonicalRow[] = [];
  const hashes: string[] = [];
  for await (const batch of readCells(connection, sql, [], facts.unfit + 1, signal)) {
    for (const row of batch) {
      rows.push(row.slice(0, table.columns.length));
      hashes.push(String(row[facts.hash]));
    }
  }
  return { rows, hashes };
}

async function* batchesOf(rows: readonly CanonicalRow[]) {
  for (let at = 0; at < rows.length; at += 3) yield rows.slice(at, at + 3);
}

/** As the archive is read back: the servers keep the aggregates in a table of their own on the way. */
function statisticsQuery(columns: ArchivedTable['columns'], table: string): string {
  const all = [{ name: 'tableset_rows', sql: 'COUNT(*)' }, ...statisticsAggregates(columns)];
  const names = all.map(({ name }) => name).join(', ');
  return `SELECT ${names} FROM (SELECT ${all.map(({ name, sql }) => `${sql} AS ${name}`).join(', ')} FROM ${table}) facts`;
}

function manifestOf(id: string, table: ArchivedTable, hashes: readonly string[]): Manifest {
  return {
    format: manifestFormat,
    batch: id,
    program: 'test',
    source: 'test',
    run: '1',
    cutoff: '2020-01-01 00:00:00.000000',
    createdAt: '2020-01-01 00:00:00.000000',
    tables: [
      {
        table: table.definition.name,
        archiveName: table.archiveName,
        fingerprint: table.fingerprint,
        columns: table.columns.map(({ name, columnType, characterSet, collation, nullable, generated }) => ({
          name,
          type: columnType,
          characterSet,
          collation,
          nullable,
          generated,
        })),
        key: table.key,
        rows: hashes.length,
        keys: null,
        dates: null,
        sha256: batchDigest(hashes),
        dropped: 0,
        statistics: {},
        file: null,
      },
    ],
  };
}

async function all<T>(batches: AsyncIterable<readonly T[]>): Promise<T[]> {
  const found: T[] = [];
  for await (const batch of batches) found.push(...batch);
  return found;
}

/** Copies a table into a batch of the store, and returns what the store gives back. */
async function copy({ connection, store }: Opened, name: string, id: string) {
  const table = await archivedTable(connection, name);
  await store.prepare([table], 'refuse');
  const { rows, hashes } = await readAll(connection, table);
  const batch = { id, rootTable: name };
  await store.write(batch, table, batchesOf(rows));
  const manifest = manifestOf(id, table, hashes);
  await store.seal(batch, manifest);
  // One table was written.
  const described = manifest.tables[0] as Manifest['tables'][number];
  return { table, rows, hashes, batch, manifest, described };
}

/** A table with a column of every type, and a row for every value. */
async function everyType(schema: TestSchema, server: TestServer, crossed = false): Promise<void> {
  // Types and values that the other kind of server has not, in no form.
  const skip = crossed ? /^(VECTOR|POINT SRID|UUID|INET|TIMESTAMP NULL)/ : /^$/;
  const cases = typeCases(server.flavour).filter(({ type }) => !skip.test(type));
  const columns = cases.map(({ type }, index) => `c${index} ${type}${/ NULL$/.test(type) ? '' : ' NULL'}`);
  await schema.query(
    `CREATE TABLE types (id INT NOT NULL PRIMARY KEY, ${columns.join(', ')}) ENGINE=InnoDB ROW_FORMAT=DYNAMIC`,
  );
  const most = Math.max(...cases.map(({ values }) => values.length));
  for (let row = 0; row <= most; row++) {
    const values = cases.map(({ values }) => {
      const value =
        row === most || (crossed && values[row % values.length] === '-0') ? undefined : values[row % values.length];
      return value === undefined ? 'NULL' : typeof value === 'string' ? quoteString(value) : value[1];
    });
    await schema.query(`INSERT INTO types VALUES (${row}, ${values.join(', ')})`);
  }
}

function suite(server: TestServer, archiveOn: (server: TestServer) => TestServer, crossed: boolean) {
  const other = archiveOn(server);

  test("faults 39 to 42: every value of every type comes back as it was, with the primary's own hash", async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await everyType(schema, server, crossed);
    await using opened = await open(schema, archive);
    const { table, rows, hashes, batch, described } = await copy(opened, 'types', '7');
    const binary = table.columns.map(isBinaryColumn);
    const back = await all(opened.store.rows(batch, described));
    const byId = (each: readonly CanonicalRow[]) =>
      each.toSorted((a, b) => Number(String(a[0])) - Number(String(b[0])));
    const readable = (each: readonly CanonicalRow[]) =>
      byId(each).map((row) =>
        row.map((cell, index) => (cell === null ? null : cell.toString(binary[index] ? 'hex' : 'utf8').slice(0, 200))),
      );
    expect(readable(back)).toEqual(readable(rows));
    expect(back.map((row) => rowHash(row, binary)).toSorted()).toEqual(hashes.toSorted());
    const found = await all(opened.store.hashes(batch, described));
    expect(found.map(({ hash }) => hash).toSorted()).toEqual(hashes.toSorted());
    expect(found.map(({ key }) => key[0]).toSorted()).toEqual(rows.map((row) => String(row[0])).toSorted());
  });

  test('INSERT gives the same result where LOAD DATA LOCAL is not allowed', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await everyType(schema, server, crossed);
    await using opened = await open(schema, archive);
    await copy(opened, 'types', '7');
    const table = await archivedTable(opened.connection, 'types');
    const { rows, hashes } = await readAll(opened.connection, table);
    const batch = { id: '8', rootTable: 'types' };
    // As the server says it of itself at the start.
    const { writeRows } = await import('../src/stores/mysql-store-write.ts');
    await using writer = await connect(settingsOf(archive));
    Object.assign(writer, { server: { ...writer.server, localInfile: false } });
    const target = { archive: '`types`', name: 'types', columns: table.columns, key: table.key, batch: '8' };
    await writeRows(writer, target, batchesOf(rows));
    const [described] = manifestOf('8', table, hashes).tables;
    const found = await all(opened.store.hashes(batch, described as Manifest['tables'][number]));
    expect(found.map(({ hash }) => hash).toSorted()).toEqual(hashes.toSorted());
  });

  test('statistics are the same from the server and from rows', async () => {
    const schema = await server.createSchema();
    await everyType(schema, server);
    await schema.query(
      'CREATE TABLE more (id INT NOT NULL PRIMARY KEY, a DECIMAL(20,4), b BIGINT UNSIGNED, c TIME(3), d DOUBLE, e INT(6) ZEROFILL)',
    );
    await schema.query(
      "INSERT INTO more VALUES (1, '-1.0050', '18446744073709551615', '-100:00:00.5', -0.0, 7), (2, '2.0000', '18446744073709551615', '99:59:59', 1e300, 12), (3, NULL, NULL, NULL, NULL, NULL)",
    );
    await using connection = await connect(settingsOf(schema));
    for (const name of ['types', 'more']) {
      const table = await archivedTable(connection, name);
      const { rows } = await readAll(connection, table);
      const statistics = createStatistics(table.columns);
      for (const row of rows) statistics.add(row);
      const row = await connection.row(statisticsQuery(table.columns, name));
      expect(statistics.result()).toEqual(readStatistics(table.columns, row ?? {}));
    }
    const table = await archivedTable(connection, 'more');
    const row = await connection.row(statisticsQuery(table.columns, 'more'));
    expect(readStatistics(table.columns, row ?? {})).toMatchObject({
      a: { count: 2, nulls: 1, min: '-1.0050', max: '2.0000', sum: '0.9950', mean: '0.49750000' },
      b: { sum: '36893488147419103230', mean: '18446744073709551615.0000' },
      c: { min: '-100:00:00.500', max: '99:59:59.000', sum: null },
      d: { min: '0', max: '1e300' },
      e: { min: '7', max: '12', sum: '19' },
    });
  });

  test('nothing of a batch is there before it is sealed, and nothing after it is removed', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await schema.script(
      "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v VARCHAR(10)); INSERT INTO t VALUES (1, 'a'), (2, NULL)",
    );
    await using opened = await open(schema, archive);
    const { store } = opened;
    const { table, rows, hashes, batch, described, manifest } = await copy(opened, 't', '11');
    const second = { id: '12', rootTable: 't' };
    await store.write(second, table, batchesOf(rows));
    expect(await archive.query('SELECT COUNT(*) AS n FROM t')).toEqual([{ n: 2 }]);
    expect(await store.manifest(second)).toBeNull();
    expect(await store.manifest(batch)).toEqual(manifest);
    // Another batch may be taken away meanwhile.
    await store.remove(batch, manifest.tables);
    await store.remove(batch, manifest.tables);
    await store.seal(second, manifestOf('12', table, hashes));
    await store.seal(second, manifestOf('12', table, hashes));
    const ids: string[] = [];
    for await (const id of store.batches('t')) ids.push(id);
    expect(ids).toEqual(['12']);
    expect(await all(store.rows(batch, described))).toEqual([]);
    // A writer that dies leaves nothing.
    await store.write({ id: '13', rootTable: 't' }, table, batchesOf(rows));
    await store.remove({ id: '13', rootTable: 't' }, manifest.tables);
    expect(await archive.query('SELECT DISTINCT CAST(tableset_batch AS CHAR) AS b FROM t')).toEqual([{ b: '12' }]);
    // Nothing is there of a table that was never prepared.
    for await (const id of store.batches('other')) ids.push(id);
    expect(ids).toEqual(['12']);
  });

  test('a value that the archive cannot take ends the batch, and nothing of it is left', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await schema.script(
      "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v VARCHAR(10)); INSERT INTO t VALUES (1, 'a'), (2, 'too long')",
    );
    await using opened = await open(schema, archive);
    const table = await archivedTable(opened.connection, 't');
    await opened.store.prepare([table], 'refuse');
    await archive.query('ALTER TABLE t MODIFY v VARCHAR(3)');
    const { rows } = await readAll(opened.connection, table);
    await expect(opened.store.write({ id: '9', rootTable: 't' }, table, batchesOf(rows))).rejects.toMatchObject({
      code: 'ARCHIVE_VALUE_REFUSED',
      exit: 3,
    });
    await opened.store.remove({ id: '9', rootTable: 't' }, [{ table: 't', archiveName: 't' }]);
    expect(await archive.query('SELECT COUNT(*) AS n FROM t')).toEqual([{ n: 0 }]);
  });

  test('fault 42: a TIMESTAMP of after 2038 is refused where the archive ends there', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    if (server.flavour === 'mysql') return;
    await schema.script(
      "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, d TIMESTAMP NULL); INSERT INTO t VALUES (1, '2106-02-07 06:28:15')",
    );
    await using opened = await open(schema, archive);
    const copied = copy(opened, 't', '9').then(({ hashes }) => hashes.length);
    if (crossed) await expect(copied).rejects.toMatchObject({ code: 'ARCHIVE_VALUE_REFUSED' });
    else await expect(copied).resolves.toBe(1);
    await opened.store.remove({ id: '9', rootTable: 't' }, [{ table: 't', archiveName: 't' }]);
    expect(await archive.query('SELECT COUNT(*) AS n FROM t')).toEqual([{ n: 0 }]);
  });

  test('a negative zero, which MariaDB does not have, is refused by its key', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await schema.script(
      'CREATE TABLE t (id INT NOT NULL PRIMARY KEY, d DOUBLE NULL); INSERT INTO t VALUES (1, 0), (2, -(0e0))',
    );
    await using opened = await open(schema, archive);
    const copied = copy(opened, 't', '9').then(({ hashes }) => hashes.length);
    if (server.flavour === 'mysql' && crossed)
      await expect(copied).rejects.toMatchObject({
        code: 'ARCHIVE_VALUE_REFUSED',
        message: expect.stringContaining('["2"]'),
      });
    else await expect(copied).resolves.toBe(2);
  });

  test('fault 20: a server that goes away in the middle of a batch is told as the store, and a new connection goes on', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await schema.script(
      "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v VARCHAR(10)); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    );
    await using opened = await open(schema, archive);
    const table = await archivedTable(opened.connection, 't');
    await opened.store.prepare([table], 'refuse');
    const { rows, hashes } = await readAll(opened.connection, table);
    const batch = { id: '9', rootTable: 't' };
    await opened.store.write(batch, table, batchesOf(rows));
    for (const row of await other.query('SELECT id AS id FROM information_schema.processlist WHERE user = ?', [
      archive.user,
    ]))
      await other.query(`KILL ${String(row['id'])}`);
    await expect(opened.store.seal(batch, manifestOf('9', table, hashes))).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      exit: 1,
    });
    await opened.store.remove(batch, [{ table: 't', archiveName: 't' }]);
    await opened.store.write(batch, table, batchesOf(rows));
    await opened.store.seal(batch, manifestOf('9', table, hashes));
    expect(await archive.query('SELECT COUNT(*) AS n FROM t')).toEqual([{ n: 2 }]);
  });

  test('the primary itself is known whatever its name, and a table is never its own archive', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await schema.script('CREATE TABLE t (id INT NOT NULL PRIMARY KEY)');
    await using opened = await open(schema, archive);
    expect(opened.store.sameServer).toBe(!crossed);
    const own = { ...storeSettings(schema), server: { ...settingsOf(schema), host: 'localhost' } };
    await using store = await openMysqlStore(own, { primary: opened.connection, signal, warn: () => {} });
    expect(store.sameServer).toBe(true);
    await expect(store.prepare([await archivedTable(opened.connection, 't')], 'refuse')).rejects.toMatchObject({
      code: 'ARCHIVE_STORE_UNSUITABLE',
    });
  });

  test('fault 34: columns that the archive lacks are refused with the statement, or added', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await schema.script("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v VARCHAR(10)); INSERT INTO t VALUES (1, 'a')");
    await using opened = await open(schema, archive);
    const { described, batch, hashes } = await copy(opened, 't', '5');
    await schema.query('ALTER TABLE t ADD w DECIMAL(10,2) NOT NULL DEFAULT 1');
    const changed = await archivedTable(opened.connection, 't');
    await expect(opened.store.prepare([changed], 'refuse')).rejects.toMatchObject({
      code: 'ARCHIVE_DRIFT',
      hint: expect.stringContaining('ALTER TABLE'),
    });
    expect(await opened.store.prepare([changed], 'add-columns')).toEqual([expect.stringContaining('w')]);
    expect(await opened.store.prepare([changed], 'refuse')).toEqual([]);
    // A batch from before has the columns of its manifest.
    expect((await all(opened.store.hashes(batch, described))).map(({ hash }) => hash)).toEqual(hashes);
    const next = await copy(opened, 't', '6');
    expect((await all(opened.store.hashes(next.batch, next.described))).map(({ hash }) => hash)).toEqual(next.hashes);
    await schema.query('ALTER TABLE t MODIFY v VARCHAR(20)');
    await expect(
      opened.store.prepare([await archivedTable(opened.connection, 't')], 'add-columns'),
    ).rejects.toMatchObject({ code: 'ARCHIVE_DRIFT' });
  });
}

describeEachServer('an archive on a server', (server) => {
  describe('of the same kind', () => suite(server, (primary) => primary, false));
  describe('of the other kind', () => suite(server, archiveServer, true));
});
