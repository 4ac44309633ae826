import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { csv, LoaderFolder } from './run-loader.ts';

// These change global variables, which they may since no other suite uses these servers.
describeEachServer(
  'a server with its own limits',
  (server) => {
    test('that forbids LOCAL INFILE gives the same result in each publish mode, and refuses localInfile: on by name', async () => {
      const schema = await server.createSchema();
      await schema.script(`CREATE TABLE swap (id INT PRIMARY KEY, name VARCHAR(40) CHARACTER SET utf8mb4, data VARBINARY(9), f FLOAT, KEY name (name));
        CREATE TABLE direct LIKE swap; CREATE TABLE delta LIKE swap; INSERT INTO delta VALUES (1, 'old', NULL, 1), (30001, 'mine', x'00', 2)`);
      const rows = Array.from({ length: 30_000 }, (_, index) => [
        index + 1,
        index % 5 === 0 ? null : `it's "${index}" \\ \n 😀`,
        index % 7 === 0 ? null : '0x005c270a2c',
        index % 3 === 0 ? null : '16777216',
      ]);
      const tables = ['swap', 'direct', 'delta'];
      const entries = tables.map((table) => ({ table, source: 't.csv', publish: table }));
      const folder = new LoaderFolder(schema, entries, { 't.csv': csv(['id', 'name', 'data', 'f'], rows) });
      expect(await folder.load()).toMatchObject([
        { publish: 'swap', inserted: 30_000 },
        { publish: 'direct', inserted: 30_000 },
        { publish: 'delta', inserted: 29_999, updated: 1 },
      ]);
      for (const table of tables) {
        expect(
          await schema.query(
            `SELECT COUNT(*) AS count, COUNT(name) AS names, COUNT(data) AS data, SUM(name = CONCAT('it''s "', id - 1, '" \\\\ \\n 😀')) AS exact, SUM(HEX(data) = '005C270A2C') AS bytes FROM ${table} WHERE id <= 30000`,
          ),
        ).toEqual([{ count: 30_000, names: 24_000, data: 25_714, exact: '24000', bytes: '25714' }]);
      }
      folder.configure(entries.map((entry) => ({ ...entry, publish: 'auto' })));
      expect(await folder.load()).toMatchObject(tables.map(() => ({ unchanged: 30_000, publish: null })));
      folder.configure([{ table: 'swap', source: 't.csv', localInfile: 'on' }]);
      const { summary } = await folder.refuse(2, 'SETTING_INVALID');
      expect(summary.error?.message).toContain('local_infile is off');
    });

    test('whose max_allowed_packet is 1 MiB takes rows that fit, and a row that does not is rejected by its line', async () => {
      const [before] = await server.query('SELECT @@GLOBAL.max_allowed_packet AS bytes');
      await server.query('SET GLOBAL max_allowed_packet = 1048576');
      try {
        const schema = await server.createSchema();
        await schema.script('CREATE TABLE t (id INT PRIMARY KEY, body LONGTEXT); CREATE TABLE u LIKE t');
        const rows = [
          [1, 'x'.repeat(900_000)],
          [2, 'y'.repeat(1_000_000)],
          [3, 'small'],
          [4, "'".repeat(700_000)],
          [5, 'z'.repeat(1_100_000)],
          [6, 'last'],
        ] as const;
        const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv', maxRejects: 2 }], {
          't.csv': csv(['id', 'body'], rows),
        });
        expect(await folder.load()).toMatchObject([{ inserted: 4, rejected: 2 }]);
        expect(await schema.query('SELECT id, LENGTH(body) AS bytes FROM t ORDER BY id')).toEqual([
          { id: 1, bytes: 900_000 },
          { id: 2, bytes: 1_000_000 },
          { id: 3, bytes: 5 },
          { id: 6, bytes: 4 },
        ]);
        expect(
          await schema.query('SELECT CAST(line AS CHAR) AS line, reason FROM tableset_rejects ORDER BY line'),
        ).toMatchObject([
          { line: '5', reason: expect.stringContaining('max_allowed_packet') },
          { line: '6', reason: expect.stringContaining('max_allowed_packet') },
        ]);
        folder.configure([{ table: 'u', source: 't.csv' }]);
        const { summary } = await folder.refuse(3, 'LOAD_REJECTED');
        expect(summary.error?.message).toMatch(/t\.csv:[56]: the row takes/);
      } finally {
        await server.query('SET GLOBAL max_allowed_packet = ?', [Number(before?.['bytes'])]);
      }
    });

    test('that is read-only is exit 1 with a code of its own, and nothing is written', async () => {
      const schema = await server.createSchema();
      await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9))');
      const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': 'id,name\n1,a\n' });
      await server.query('SET GLOBAL read_only = 1');
      try {
        await folder.refuse(1, 'DATABASE_READ_ONLY');
        expect(await schema.query('SHOW TABLES')).toHaveLength(1);
      } finally {
        await server.query('SET GLOBAL read_only = 0');
      }
      expect(await folder.load()).toMatchObject([{ inserted: 1 }]);
      await server.query('SET GLOBAL read_only = 1');
      try {
        folder.write({ 't.csv': 'id,name\n1,b\n' });
        await folder.refuse(1, 'DATABASE_READ_ONLY');
        expect(await schema.query('SELECT name FROM t')).toEqual([{ name: 'a' }]);
      } finally {
        await server.query('SET GLOBAL read_only = 0');
      }
    });
  },
  { localInfile: false },
);
