import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { bytesOf, ids, restore } from './archive-restore-kit.ts';
import { batches } from './archive-shop.ts';
import { ArchiveFolder, archiveSchema, sameServer } from './run-archive.ts';
import { typeCases } from './type-values.ts';

const all = ['--from', '0001-01-01'];
const restoreAll = ['--table', 'orders', ...all];

describeEachServer('restored values', (server) => {
  test('faults 39 to 42: every type comes back byte for byte', async () => {
    const schema = await server.createSchema();
    const archive = await archiveSchema(server, schema);
    const cases = typeCases(server.flavour).filter(({ type }) => !/^(TIMESTAMP NULL)/.test(type));
    const folder = new ArchiveFolder(schema, sameServer(archive, [{ table: 'orders' }]));
    // Rows have room for so many columns.
    for (let start = 0; start < cases.length; start += 25) {
      const some = cases.slice(start, start + 25);
      const columns = some.map(({ type }, index) => `c${index} ${type} ${/^TIMESTAMP/.test(type) ? 'NULL' : ''}`);
      await schema.script(
        `DROP TABLE IF EXISTS orders; CREATE TABLE orders (id INT PRIMARY KEY, created_at DATETIME NOT NULL, ${columns.join(', ')})`,
      );
      await archive.query('DROP TABLE IF EXISTS orders');
      const rows = Math.max(...some.map(({ values }) => values.length)) + 1;
      for (let row = 0; row < rows; row++) {
        const literals = some.map(({ values }) => {
          const value = values[row];
          return value === undefined ? 'NULL' : typeof value === 'string' ? quoted(value) : value[1];
        });
        await schema.query(`INSERT INTO orders VALUES (${row}, '2001-01-01', ${literals.join(', ')})`);
      }
      const before = await bytesOf(schema, 'orders');
      expect(before).toHaveLength(rows);
      await folder.archive();
      expect(await ids(schema, 'orders')).toEqual([]);
      expect(
        await restore(
          { folder },
          ...all,
          '--batch',
          String((await batches(schema)).findLast(({ state }) => state === 'deleted')?.['id']),
        ),
      ).toMatchObject([{ restored: rows }]);
      expect(await bytesOf(schema, 'orders')).toEqual(before);
      await schema.query('DELETE FROM tableset_holds');
      await folder.archive();
      await restore(
        { folder },
        ...all,
        '--batch',
        String((await batches(schema)).findLast(({ state }) => state === 'deleted')?.['id']),
        '--into',
        `copy${start}`,
      );
      expect(await bytesOf(schema, `copy${start}`)).toEqual(before);
    }
  }, 120_000);

  test('fault 38: generated columns are left out and come out the same, invisible ones and keys of 0 are kept', async () => {
    const schema = await server.createSchema();
    const archive = await archiveSchema(server, schema);
    await schema.script(`CREATE TABLE orders (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, created_at DATETIME NOT NULL, a INT, hidden VARCHAR(9) INVISIBLE,
        v INT AS (a * 2) VIRTUAL, s VARCHAR(20) AS (CONCAT('s', a)) STORED, touched TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY (v));
      SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
      INSERT INTO orders (id, created_at, a, hidden, touched) VALUES (0, '2001-01-01', 1, 'x', '2001-02-03 04:05:06.789'), (5, '2001-01-02', NULL, NULL, NULL)`);
    const folder = new ArchiveFolder(schema, sameServer(archive, [{ table: 'orders' }]));
    const all = 'SELECT id, created_at, a, hidden, v, s, touched FROM orders ORDER BY id';
    const before = await schema.query(all);
    expect(before).toMatchObject([{ id: 0, v: 2, s: 's1', hidden: 'x' }, { id: 5 }]);
    await folder.archive();
    expect(await restore({ folder }, '--where', 'id=0')).toMatchObject([{ restored: 1 }]);
    expect(await restore({ folder }, '--where', 'created_at=2001-01-02')).toMatchObject([{ restored: 1 }]);
    expect(await schema.query(all)).toEqual(before);
    await schema.query("UPDATE orders SET hidden = 'changed'");
    expect(await restore({ folder }, '--from', '2000-01-01', '--overwrite')).toMatchObject([{ overwritten: 2 }]);
    expect(await schema.query(all)).toEqual(before);
  });

  test('fault 42: zero dates and dates that never were come back as they are', async () => {
    const schema = await server.createSchema();
    const archive = await archiveSchema(server, schema);
    await schema.script(`CREATE TABLE orders (id INT PRIMARY KEY, created_at DATETIME NOT NULL, d DATE, dt DATETIME(6), ts TIMESTAMP NULL, y YEAR, t TIME(6));
      SET SESSION sql_mode = 'ALLOW_INVALID_DATES';
      INSERT INTO orders VALUES (1, '2001-01-01', '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', 0, '-838:59:59'),
        (2, '2001-01-01', '2024-02-31', '2024-04-31 12:00:00.5', NULL, 2155, '838:59:59'), (3, '2001-01-01', '2024-00-00', '2024-05-00 01:02:03', NULL, 1901, '-00:00:00.000001')`);
    const folder = new ArchiveFolder(schema, sameServer(archive, [{ table: 'orders' }]));
    const before = await bytesOf(schema, 'orders');
    await folder.archive();
    expect(await restore({ folder }, ...all)).toMatchObject([{ restored: 3 }]);
    expect(await bytesOf(schema, 'orders')).toEqual(before);
  });

  test('fault 45: keys of several columns, of bytes, of texts and of reserved names are found again', async () => {
    const schema = await server.createSchema();
    const archive = await archiveSchema(server, schema);
    await schema.script(`CREATE TABLE orders (\`order\` BINARY(4) NOT NULL, \`select\` VARCHAR(20) NOT NULL, price DECIMAL(20,4) NOT NULL, at DATETIME(3) NOT NULL, bits BIT(9) NOT NULL, created_at DATETIME NOT NULL,
        PRIMARY KEY (\`order\`, \`select\`, price, at, bits));
      INSERT INTO orders VALUES (x'00ff0a00', 'it''s \\\\ "x"', 12345678901234.5678, '2024-01-01 00:00:00.123', b'100000001', '2001-01-01'),
        (x'00ff0a00', 'grüße 😀', -0.0001, '2024-01-01 00:00:00.124', b'0', '2001-01-01'), (x'61620000', '', 0, '1000-01-01 00:00:00', b'111111111', '2001-01-01')`);
    const folder = new ArchiveFolder(schema, sameServer(archive, [{ table: 'orders' }]));
    const before = await bytesOf(schema, 'orders');
    await folder.archive();
    expect(await restore({ folder }, '--where', 'order=00ff0a00', '--where', 'price=-0.00010')).toMatchObject([
      { restored: 1 },
    ]);
    expect(await restore({ folder }, '--where', 'bits=511')).toMatchObject([{ restored: 1 }]);
    expect(await restore({ folder }, ...all)).toMatchObject([{ restored: 1, unchanged: 2 }]);
    expect(await bytesOf(schema, 'orders')).toEqual(before);
    expect(await folder.archive()).toMatchObject([{ archived: 0, skipped: { held: 3 } }]);
    await schema.query("UPDATE orders SET `select` = 'GRÜSSE 😀' WHERE price < 0");
    // The same key to a collation without case, written otherwise.
    await schema.query("UPDATE orders SET `select` = 'GRÜßE 😀' WHERE price < 0");
    await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', restoreAll);
    expect(await restore({ folder }, ...all, '--overwrite')).toMatchObject([{ overwritten: 1, unchanged: 2 }]);
    expect(await bytesOf(schema, 'orders')).toEqual(before);
  });
});

function quoted(value: string): string {
  const escapes: Readonly<Record<string, string>> = {
    '\0': '\\0',
    '\u001a': '\\Z',
    '\\': '\\\\',
    "'": "\\'",
    '\n': '\\n',
    '\r': '\\r',
  };
  return `'${Array.from(value, (character) => escapes[character] ?? character).join('')}'`;
}
