import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ManifestTable } from '../../../src/core/archive/manifest.ts';
import { cursorText, parseCursor } from '../../../src/service/api/archive-cursor.ts';
import { filterMatcher, mayMatch, parseFilters } from '../../../src/service/api/archive-filter.ts';
import { keyConditions } from '../../../src/service/api/event-task.ts';
import { LeastRows } from '../../../src/service/api/least-rows.ts';
import { openRateLimit } from '../../../src/service/api/rate-limit.ts';
import { openHostCheck } from '../../../src/service/api/record-hosts.ts';
import { parseClients, provenClient } from '../../../src/service/security/clients.ts';

function tableOf(columns: Readonly<Record<string, string>>, key: readonly string[]): ManifestTable {
  return {
    table: 't',
    archiveName: 't',
    fingerprint: '',
    columns: Object.entries(columns).map(([name, type]) => ({
      name,
      type,
      characterSet: null,
      collation: null,
      nullable: true,
      generated: false,
    })),
    key,
    rows: 1,
    keys: null,
    dates: null,
    sha256: '',
    dropped: 0,
    statistics: {},
    file: null,
  };
}

const cell = (text: string | null) => (text === null ? null : Buffer.from(text));

test('pages of a batch have every row once and in order, whatever the order that the store gives them in', () => {
  const table = tableOf({ id: 'bigint', name: 'varchar(20)' }, ['id', 'name']);
  const keys = fc.uniqueArray(fc.tuple(fc.bigInt({ min: -20n, max: 2n ** 63n }), fc.string({ maxLength: 3 })), {
    selector: ([id, name]) => `${id}:${name}`,
    maxLength: 40,
  });
  fc.assert(
    fc.property(keys, fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 60 }), (pairs, rows, bytes) => {
      const all = pairs.map(([id, name]) => [String(id), name]);
      const seen: (readonly string[])[] = [];
      let after: readonly string[] | null = null;
      for (let page = 0; page <= all.length; page++) {
        const least = new LeastRows(table, after, { rows, bytes });
        for (const key of all) least.offer(key, key.map(cell));
        const result = least.result();
        expect(result.rows.length).toBeLessThanOrEqual(rows);
        seen.push(...result.rows.map(({ key }) => key));
        if (!result.more) break;
        after = result.rows.at(-1)?.key ?? null;
      }
      const order = (a: readonly string[], b: readonly string[]) => {
        const [x, y] = [BigInt(a[0] ?? 0), BigInt(b[0] ?? 0)];
        if (x !== y) return x < y ? -1 : 1;
        return (a[1] ?? '') < (b[1] ?? '') ? -1 : 1;
      };
      expect(seen).toEqual(all.toSorted(order));
    }),
  );
});

test('a batch is left out only if its statistics show that no row can match', () => {
  const values = fc.array(fc.option(fc.integer({ min: -5, max: 5 }), { freq: 4 }), { minLength: 1, maxLength: 6 });
  const filter = fc.tuple(fc.constantFrom('eq', 'ne', 'lt', 'lte', 'gt', 'gte', 'in'), fc.integer({ min: -6, max: 6 }));
  fc.assert(
    fc.property(values, filter, (cells, [operator, value]) => {
      const there = cells.filter((each) => each !== null);
      const statistics = {
        count: there.length,
        nulls: cells.length - there.length,
        min: there.length === 0 ? null : String(Math.min(...there)),
        max: there.length === 0 ? null : String(Math.max(...there)),
        sum: null,
        mean: null,
      };
      const table = { ...tableOf({ n: 'int' }, ['n']), statistics: { n: statistics } };
      const filters = parseFilters({ n: `${operator}:${value}` });
      const matches = filterMatcher(table, filters);
      const found = cells.filter((each) => matches([cell(each === null ? null : String(each))]));
      if (found.length > 0) expect(mayMatch(table, filters)).toBe(true);
      for (const isNull of [true, false]) {
        const byNull = parseFilters({ n: `null:${isNull}` });
        expect(mayMatch(table, byNull)).toBe(isNull ? there.length < cells.length : there.length > 0);
      }
    }),
  );
});

test('a batch from before a column came has NULL in it', () => {
  const table = tableOf({ id: 'int' }, ['id']);
  const matches = (text: string) => filterMatcher(table, parseFilters({ later: text }))([cell('1')]);
  expect(matches('null:true')).toBe(true);
  for (const text of ['null:false', 'eq:1', 'ne:1', 'gt:1']) {
    expect(matches(text), text).toBe(false);
    expect(mayMatch(table, parseFilters({ later: text })), text).toBe(false);
  }
});

test('numbers are compared by every digit, and cursors come back as they went', () => {
  const table = tableOf({ id: 'bigint unsigned', d: 'decimal(65,30)' }, ['id']);
  const matches = (query: Record<string, string>, row: readonly string[]) =>
    filterMatcher(table, parseFilters(query))(row.map(cell));
  expect(matches({ id: 'gt:9007199254740992' }, ['9007199254740993', '0'])).toBe(true);
  expect(matches({ id: 'eq:9007199254740992' }, ['9007199254740993', '0'])).toBe(false);
  expect(matches({ d: 'lt:0.000000000000000000000000000002' }, ['1', '0.000000000000000000000000000001'])).toBe(true);
  fc.assert(
    fc.property(
      fc.option(fc.array(fc.oneof(fc.string(), fc.constant('née Ω 🍏\0')), { minLength: 1, maxLength: 16 })),
      (key) => {
        const cursor = { batch: '18446744073709551615', key };
        expect(parseCursor(cursorText(cursor))).toEqual(cursor);
      },
    ),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parseCursor(text);
      } catch (error) {
        expect(error).toMatchObject({ code: 'SERVICE_REQUEST_INVALID' });
      }
    }),
  );
});

test('an address may ask so often a minute, others do not count, and memory is bounded', () => {
  let now = 0;
  const limit = openRateLimit(60, () => now);
  for (let round = 0; round < 60; round++) expect(limit.take('192.0.2.1')).toBeNull();
  expect(limit.take('192.0.2.1')).toBe(1);
  expect(limit.take('192.0.2.2')).toBeNull();
  now += 1000;
  expect(limit.take('192.0.2.1')).toBeNull();
  expect(limit.take('192.0.2.1')).toBe(1);
  // Whoever asks on is not let through sooner, nor later.
  now += 500;
  expect(limit.take('192.0.2.1')).toBe(1);
  now += 500;
  expect(limit.take('192.0.2.1')).toBeNull();
  // A clock that was set back gives nothing and takes nothing.
  now -= 3_600_000;
  expect(limit.take('192.0.2.1')).toBe(1);
  now += 1_000;
  expect(limit.take('192.0.2.1')).toBeNull();
  // One network of IPv6 is one asker, however it is written.
  for (let round = 0; round < 60; round++) expect(limit.take(`2001:db8:0:1::${round.toString(16)}`)).toBeNull();
  expect(limit.take('2001:0db8:0000:0001:ffff:ffff:ffff:ffff')).toBe(1);
  expect(limit.take('2001:db8:0:2::1')).toBeNull();
  // Twenty thousand others later the first is forgotten.
  for (let other = 0; other < 20_000; other++) limit.take(`10.0.${other >> 8}.${other & 255}`);
  expect(limit.take('2001:db8:0:1::1')).toBeNull();
});

test('hosts are looked up before they are allowed, all addresses of a name count, and what cannot be resolved is refused', async () => {
  const names: Readonly<Record<string, readonly string[]>> = {
    'db.internal': ['10.0.0.5'],
    'two.internal': ['10.0.0.5', '169.254.169.254'],
    'six.internal': ['::ffff:169.254.169.254'],
    'here.internal': ['127.0.0.1'],
    'none.internal': [],
  };
  const resolve = async (host: string) => {
    const found = names[host];
    if (!found) throw new Error('ENOTFOUND');
    return found;
  };
  const open = openHostCheck('mysql', [], resolve);
  await open('db.internal');
  await open('DB.internal');
  await open('MySQL');
  for (const host of ['two.internal', 'six.internal', 'here.internal', 'none.internal', 'away.internal'])
    await expect(open(host), host).rejects.toMatchObject({ code: 'SERVICE_HOST_REFUSED' });
  // Where the service's own server is on this machine, others may be.
  await openHostCheck('127.0.0.1', [], resolve)('here.internal');
  const listed = openHostCheck('mysql', ['*.internal', '192.0.2.7'], resolve);
  await listed('away.internal');
  await listed('192.0.2.7');
  for (const host of ['internal', 'x.internal.evil', '192.0.2.70', 'evilinternal'])
    await expect(listed(host), host).rejects.toMatchObject({ code: 'SERVICE_HOST_REFUSED' });
});

test('clients are proved by hash or secret, and a list that cannot be used is refused without quoting it', () => {
  const secret = 'a-secret-of-this-test';
  const hash = '4e0c66d5b2be1c6ee0f5cdcaa0c2d7e3b7e3ab7bd8bd1d25bd5d04ffcd4c5c3f';
  const clients = parseClients(
    `clients:\n  - {id: plain, secret: ${secret}, roles: [viewer]}\n  - {id: hashed, secretHash: 'sha256:${hash}', roles: ['table:o r-d\`ers', admin]}`,
    'clients.yaml',
  );
  expect(provenClient(clients, 'plain', secret)?.roles).toEqual(new Set(['viewer']));
  expect(provenClient(clients, 'plain', `${secret} `)).toBeNull();
  expect(provenClient(clients, 'hashed', hash)).toBeNull();
  expect(provenClient(clients, 'nobody', '')).toBeNull();
  expect(provenClient(clients, '__proto__', '')).toBeNull();
  expect(clients.get('hashed')?.roles).toEqual(new Set(['table:o r-d`ers', 'admin']));
  for (const text of [
    '',
    'clients: []',
    `clients: [{id: a, roles: [viewer]}]`,
    `clients: [{id: a, secret: ${secret}, secretHash: 'sha256:${hash}', roles: [viewer]}]`,
    `clients: [{id: a, secret: ${secret}, roles: []}]`,
    `clients: [{id: 'a:b', secret: ${secret}, roles: [viewer]}]`,
    `clients: [{id: schedule, secret: ${secret}, roles: [viewer]}]`,
    `clients: [{id: a, secret: ${secret}, roles: [viewer]}, {id: a, secret: ${secret}, roles: [admin]}]`,
    `clients: [{id: a, secret: ${secret}, roles: [viewer], admin: true}]`,
    `clients: [{id: a, secret: ${secret}`,
    `{"clients": [{"id": "a", "secret": "${secret}", "roles": ["table:"]}]}`,
  ]) {
    let message = '';
    try {
      parseClients(text, 'clients.yaml');
    } catch (error) {
      message = String(error);
    }
    expect(message, text).toContain('API_CLIENTS_FILE names clients.yaml');
    expect(message).not.toContain(secret);
  }
});

test('a key has a value for each column of the primary key', () => {
  const column = (name: string, dataType: string) => ({ name, dataType });
  // Only these parts are looked at.
  const definition = {
    name: 't',
    columns: [column('id', 'binary'), column('a', 'int'), column('b', 'varchar')],
    indexes: [
      {
        name: 'PRIMARY',
        parts: [
          { column: 'b', prefix: null },
          { column: 'id', prefix: null },
        ],
      },
    ],
  } as unknown as Parameters<typeof keyConditions>[0];
  expect(keyConditions(definition, ["x' OR 1", '00FF'])).toEqual([
    { column: 'b', operator: '=', value: "x' OR 1" },
    { column: 'id', operator: '=', value: '0x00FF' },
  ]);
  expect(() => keyConditions(definition, ['x'])).toThrow('(b, id)');
  expect(() => keyConditions({ ...definition, indexes: [] }, ['x'])).toThrow('no primary key');
});
