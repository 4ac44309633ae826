import { connect } from '@tableset/common/database/connect.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import type { ArchiveSet } from '../src/core/archive/archive-set.ts';
import { batchHints, deleteBetween, rowsBetween } from '../src/core/archive/one-server-sql.ts';
import { archivedTable, settingsOf } from './archive-two-server-kit.ts';

describeEachServer('deleting a batch between its edges', (server) => {
  test('takes what the archive has under the batch with every byte the same, the last row included', async () => {
    const schema = await server.createSchema();
    await schema.script(`
      CREATE TABLE t (id INT NOT NULL PRIMARY KEY, name VARCHAR(9) NULL, price DECIMAL(8,2) NULL);
      CREATE TABLE copies (id INT NOT NULL, name VARCHAR(9) NULL, price DECIMAL(8,2) NULL, tableset_batch BIGINT UNSIGNED NOT NULL,
        PRIMARY KEY (id, tableset_batch), KEY tableset_batch (tableset_batch));
      INSERT INTO t VALUES (-1, 'before', 1), (1, 'a', 1), (2, 'b', NULL), (3, 'c', 3), (4, 'd', 4), (5, 'e', 5), (6, NULL, 6), (7, 'after', 7);
      INSERT INTO copies SELECT id, name, price, 8 FROM t;
      UPDATE copies SET name = 'A' WHERE id = 3;
      UPDATE copies SET price = NULL WHERE id = 4;
      UPDATE copies SET tableset_batch = 9 WHERE id = 5;`);
    await using connection = await connect(settingsOf(schema));
    const table = { ...(await archivedTable(connection, 't')), archiveName: 'copies' };
    const copies = await readTableDefinition(connection, schema.name, 'copies');
    if (copies === null) throw new Error('the table of copies is missing');
    // Of the set only its tables are looked at.
    const hint = batchHints({ tables: [table] } as unknown as ArchiveSet, [copies]).copy.get('copies');
    expect(hint).toBe(' FORCE INDEX (`PRIMARY`)');
    const edges = { first: ['1'], last: ['6'] };
    const between = rowsBetween(table, edges);
    expect(await connection.row(between.sql, between.values)).toMatchObject({ rows: '6' });
    let deleted = 0;
    for (const { sql, values } of deleteBetween(table, schema.name, 8n, edges, hint ?? ''))
      deleted += (await connection.run(sql, values)).affectedRows;
    expect(deleted).toBe(3);
    const left = await connection.rows('SELECT id FROM t ORDER BY id');
    expect(left.map(({ id }) => id)).toEqual(['-1', '3', '4', '5', '7']);
  });

  test('is for tables with one integer as their key, whose archive has an index of it', async () => {
    const schema = await server.createSchema();
    await schema.script(`
      CREATE TABLE texts (id VARCHAR(9) NOT NULL PRIMARY KEY, n INT);
      CREATE TABLE pairs (a INT NOT NULL, b INT NOT NULL, PRIMARY KEY (a, b));
      CREATE TABLE numbers (id BIGINT NOT NULL PRIMARY KEY);
      CREATE TABLE copies (id BIGINT NOT NULL, a INT, b INT, tableset_batch BIGINT UNSIGNED NOT NULL, KEY tableset_batch (tableset_batch))`);
    await using connection = await connect(settingsOf(schema));
    const copies = await readTableDefinition(connection, schema.name, 'copies');
    if (copies === null) throw new Error('the table of copies is missing');
    for (const name of ['texts', 'pairs', 'numbers']) {
      const table = await archivedTable(connection, name);
      expect(batchHints({ tables: [table] } as unknown as ArchiveSet, [copies]).copy.size).toBe(0);
    }
  });
});
