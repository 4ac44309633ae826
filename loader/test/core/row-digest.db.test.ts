import { connect } from '@tableset/common/database/connect.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../../test/servers.ts';
import { openRows } from '../../src/core/encode-rows.ts';
import { createBuckets, differingBuckets, digestQuery, RowDigester, setBucket } from '../../src/core/row-digest.ts';
import { LoaderFolder } from '../run-loader.ts';
import { pieces } from './encode-text.ts';

const awkward = ['', ' ', 'a', 'A ', '\\', '\\N', '\t', '\n', '\0', ',', ';', '|', "'", 'é', 'NULL', 'þÿ'];

describeEachServer('digests of the server', (server) => {
  test('are those of the source for every type that has one, so that no row is staged without need', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE t (id INT NOT NULL, code VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL, tiny TINYINT, big BIGINT UNSIGNED, zero INT(6) ZEROFILL, price DECIMAL(65,30), day DATE,
      at DATETIME(3), stamp TIMESTAMP(6) NULL, span TIME(6), y YEAR, c CHAR(9), l VARCHAR(20) CHARACTER SET latin1, u VARCHAR(20) CHARACTER SET utf16, m MEDIUMTEXT, e ENUM('a','b,c'), s SET('a','b'),
      PRIMARY KEY (code, id)) CHARACTER SET utf8mb4`);
    const rows = awkward.map((text, id) => {
      const plain = {
        id,
        code: `k${text}`,
        tiny: null,
        big: '18446744073709551615',
        zero: 7,
        price: '-0.5',
        day: '2024-02-29',
      };
      const more = {
        at: '2024-01-01 00:00:00.5',
        stamp: '2038-01-19 03:14:07',
        span: '-838:59:59',
        y: 2155,
        c: text.trimEnd(),
        l: text,
        u: text,
      };
      return id % 3 === 0 ? { id, code: text } : { ...plain, ...more, m: text, e: 'b,c', s: 'b,a' };
    });
    const names = [
      'id',
      'code',
      'tiny',
      'big',
      'zero',
      'price',
      'day',
      'at',
      'stamp',
      'span',
      'y',
      'c',
      'l',
      'u',
      'm',
      'e',
      's',
    ];
    const source = rows
      .map((row) => `${JSON.stringify({ ...Object.fromEntries(names.map((name) => [name, null])), ...row })}\n`)
      .join('');
    await new LoaderFolder(schema, [{ table: 't', source: 't.jsonl' }], { 't.jsonl': source }).load();
    const { host, port, password } = server.address;
    const settings = {
      host,
      port,
      user: 'root',
      password,
      name: schema.name,
      tls: 'disable',
      tlsCaFile: undefined,
      waitSeconds: 0,
      singleWriter: false,
    } as const;
    await using connection = await connect(settings);
    const definition = await readTableDefinition(connection, schema.name, 't');
    if (!definition) throw new Error('the table is there');
    const opened = await openRows(
      { name: 'x', bytes: pieces(Buffer.from(source), 1 << 16) },
      {
        format: 'jsonl',
        table: 't',
        columns: definition.columns,
        server: server.flavour,
        onReject: (reject) => {
          throw new Error(reject.reason);
        },
      },
    );
    if (!opened.plan) throw new Error('the source has rows');
    const target = {
      definition,
      key: ['code', 'id'],
      columns: opened.plan.columns.map((each) => each.column),
      ordinal: 0,
      archived: null,
    };
    const [mine, theirs] = [createBuckets(0), createBuckets(0)];
    const digester = new RowDigester(target, opened.plan.separator, mine.mask);
    for await (const chunk of opened.chunks) digester.add(chunk.bytes, mine);
    await connection.eachRow(digestQuery(target, theirs.mask), (row) =>
      setBucket(theirs, String(row['bucket']), String(row['count']), String(row['digest'])),
    );
    expect(theirs.counts.reduce((sum, count) => sum + count, 0)).toBe(awkward.length);
    expect(differingBuckets(mine, theirs).count).toBe(0);
  });
});
