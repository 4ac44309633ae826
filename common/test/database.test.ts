import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { classifyFault, serverErrno } from '../src/database/errno.ts';
import { databaseFailure, excerpt } from '../src/database/failure.ts';
import { mayHave, missingOnSchema } from '../src/database/grants.ts';
import { quoteIdentifier, quoteList, quoteString, quoteTable } from '../src/database/quoting.ts';
import { foreignKeyRules, parseMembers, withoutCounter } from '../src/database/read-table.ts';
import { atLeast, parseServerVersion } from '../src/database/server.ts';

const settings = {
  host: 'db',
  port: 3306,
  user: 'app',
  password: 'canary-of-the-password',
  name: 'shop',
  tls: 'disable',
  tlsCaFile: undefined,
  waitSeconds: 0,
  singleWriter: false,
} as const;
const thrown = (fields: object) => Object.assign(new Error('said the server'), fields);

describe('quoting', () => {
  test('of identifiers doubles backticks and leaves everything else', () => {
    expect(quoteIdentifier('a`b')).toBe('`a``b`');
    expect(quoteTable('s`', 't')).toBe('`s```.`t`');
    expect(quoteList(['a', 'select'])).toBe('`a`, `select`');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme-ascii', minLength: 1 }), (name) => {
        const quoted = quoteIdentifier(name);
        expect(quoted.slice(1, -1).replaceAll('``', '`')).toBe(name);
        expect(quoted.slice(1, -1).replaceAll('``', '')).not.toContain('`');
      }),
    );
  });

  test.each(['', 'a\0b', '😀'])('refuses %j, which no server takes as a name', (name) => {
    expect(() => quoteIdentifier(name)).toThrow(RangeError);
  });

  test('of strings leaves no way out of the literal', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("'", '\\', '"', '\0', '\n', '\r', '\u001a', 'n', 'é') }),
        (value) => {
          const inner = quoteString(value).slice(1, -1);
          expect(inner).toMatch(/^(?:[^'\\]|\\.)*$/s);
          for (const raw of ['\0', '\n', '\r', '\u001a']) expect(inner).not.toContain(raw);
          const letters: Readonly<Record<string, string>> = { n: '\n', r: '\r', '0': '\0', Z: '\u001a' };
          expect(inner.replace(/\\(.)/gs, (_, letter: string) => letters[letter] ?? letter)).toBe(value);
        },
      ),
    );
  });
});

describe('faults', () => {
  test.each([
    [1213, 'deadlock'],
    [1020, 'deadlock'],
    [1205, 'lock-wait'],
    [1317, 'interrupted'],
    [1040, 'too-many-connections'],
    [1927, 'connection-lost'],
    [1290, 'read-only'],
    [1836, 'read-only'],
    [1142, 'grant-missing'],
    [1045, 'access-denied'],
    [1049, 'unknown-schema'],
    [1146, 'missing-table'],
    [1062, 'duplicate-key'],
    [1153, 'packet-too-large'],
    [1114, 'disk-full'],
    [1064, 'other'],
  ] as const)('%i is %s', (errno, fault) => {
    expect(classifyFault(thrown({ errno, code: 'ER_WHATEVER' }))).toBe(fault);
  });

  test.each([
    ['ECONNREFUSED', 'connection-lost'],
    ['PROTOCOL_CONNECTION_LOST', 'connection-lost'],
    ['HANDSHAKE_NO_SSL_SUPPORT', 'tls'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'tls'],
    ['ENOENT', 'other'],
  ] as const)('%s is %s', (code, fault) => {
    // The errno of system errors is negative and says nothing here.
    expect(classifyFault(thrown({ code, errno: -111 }))).toBe(fault);
  });

  test('of what is no error of a server have no number', () => {
    expect(serverErrno(thrown({ errno: -2 }))).toBeNull();
    // What mysql2 makes of an error outside of any statement.
    expect(classifyFault(thrown({ code: 4031 }))).toBe('connection-lost');
    expect(serverErrno('1062')).toBeNull();
    expect(classifyFault({ errno: 1062 })).toBe('other');
  });
});

describe('failures', () => {
  const failure = (fields: object, statement: string | null = 'UPDATE t SET a = ?') =>
    databaseFailure(thrown(fields), { settings, statement });

  test.each([
    [{ errno: 1045 }, null, 'DATABASE_ACCESS_DENIED', 2],
    [{ errno: 1049 }, null, 'DATABASE_UNKNOWN', 2],
    [{ errno: 1044 }, null, 'DATABASE_GRANT_MISSING', 2],
    [{ errno: 1142 }, 'x', 'DATABASE_GRANT_MISSING', 2],
    [{ code: 'ECONNREFUSED' }, null, 'DATABASE_UNREACHABLE', 1],
    [{ code: 'ECONNRESET' }, 'x', 'DATABASE_LOST', 1],
    [{ errno: 1040 }, null, 'DATABASE_UNREACHABLE', 1],
    [{ errno: 1290 }, 'x', 'DATABASE_READ_ONLY', 1],
    [{ errno: 1213 }, 'x', 'DATABASE_BUSY', 1],
    [{ errno: 1205 }, 'x', 'DATABASE_BUSY', 1],
    [{ errno: 1114 }, 'x', 'DATABASE_BUSY', 1],
    [{ errno: 1064 }, 'x', 'DATABASE_STATEMENT_FAILED', 3],
    [{ code: 'HANDSHAKE_SSL_ERROR' }, null, 'DATABASE_TLS', 2],
    [{}, 'x', 'INTERNAL', 1],
  ] as const)('%j become documented codes', (fields, statement, code, exit) => {
    expect(failure(fields, statement)).toMatchObject({ code, exit });
  });

  test('name server, account or statement, and never the password', () => {
    expect(failure({ errno: 1045 }, null).message).toBe('db:3306 refused user app (1045)');
    expect(failure({ errno: 1064 }).message).toBe('1064 said the server in: UPDATE t SET a = ?');
    for (const errno of [1045, 1049, 1044, 1040, 1290, 1213, 1064, 2013])
      expect(JSON.stringify([failure({ errno }).message, failure({ errno }).details])).not.toContain('canary');
  });

  test('show the beginning of a statement on one line, without the passwords of account statements', () => {
    expect(excerpt('SELECT  1,\n  2')).toBe('SELECT 1, 2');
    expect(excerpt('x'.repeat(500))).toHaveLength(160);
    for (const statement of [
      "CREATE USER a IDENTIFIED BY 'canary'",
      "ALTER USER a IDENTIFIED WITH x BY 'can\\'ary'",
      "SET PASSWORD = 'canary'",
      "SET PASSWORD FOR a = PASSWORD('canary')",
    ])
      expect(excerpt(statement)).not.toMatch(/canary|ary/);
  });
});

describe('privileges on a schema', () => {
  const grant = (what: string, on: string) => `GRANT ${what} ON ${on} TO \`app\`@\`%\``;
  const wanted = ['SELECT', 'INSERT'];

  test.each([
    [[grant('SELECT, INSERT', '`shop`.*')], []],
    [[grant('SELECT', '`shop`.*'), grant('INSERT', '*.*')], []],
    [[grant('ALL PRIVILEGES', '*.*')], []],
    [[grant('ALL PRIVILEGES', '`shop`.*')], []],
    [[grant('SELECT', '`shop`.*')], ['INSERT']],
    [[grant('USAGE', '*.*')], wanted],
    [[grant('SELECT, INSERT', '`shop`.`t`')], wanted],
    [[grant('SELECT, INSERT', '`other`.*')], wanted],
    [[grant('SELECT, INSERT', '`sho_`.*')], []],
    [[grant('SELECT, INSERT', '`s%`.*')], []],
    [[grant('SELECT, INSERT', '`s\\_op`.*')], wanted],
    [[grant('SELECT, INSERT', '`s.op`.*')], wanted],
    // The most specific entry counts alone.
    [[grant('ALL PRIVILEGES', '`s%`.*'), grant('SELECT', '`shop`.*')], ['INSERT']],
    [[grant('ALL PRIVILEGES', '*.*'), 'REVOKE INSERT ON `shop`.* FROM `app`@`%`'], wanted],
    [['GRANT `role`@`%` TO `app`@`%`', 'SET DEFAULT ROLE `role` FOR `app`@`%`'], wanted],
    // A role of MariaDB has no host.
    [['GRANT SELECT, INSERT ON `shop`.* TO `role`'], []],
    [["GRANT SELECT, INSERT ON `shop`.* TO `app`@`%` IDENTIFIED BY PASSWORD '*1' WITH GRANT OPTION"], []],
    [[], wanted],
  ])('%j lack %j', (grants, missing) => {
    expect(missingOnSchema(grants, 'shop', wanted)).toEqual(missing);
  });

  const orders = { schema: 'shop', table: 'orders' };
  test.each([
    [[grant('DELETE', '`shop`.`orders`')], true],
    [[grant('DELETE', '`shop`.`other`')], false],
    [[grant('DELETE', '`shop`.*')], true],
    [[grant('DELETE', '`s%`.*'), grant('SELECT', '`shop`.*')], true],
    [[grant('SELECT, DELETE', '*.*')], true],
    [[grant('ALL PRIVILEGES', '*.*'), 'REVOKE DELETE ON `shop`.* FROM `app`@`%`'], false],
    [[grant('ALL PRIVILEGES', '*.*'), 'REVOKE INSERT ON `shop`.* FROM `app`@`%`'], true],
    [[grant('SELECT (`a`, `b`), DELETE', '`SHOP`.`Orders`')], true],
    [[grant('SELECT, INSERT (`delete`)', '`shop`.`orders`')], false],
    [['GRANT `role`@`%` TO `app`@`%`'], false],
    [[], false],
  ])('%j may let an account delete from a table: %j', (grants, expected) => {
    expect(mayHave(grants, 'DELETE', orders)).toBe(expected);
  });

  test('of single columns may be enough, those of a table are none of the schema', () => {
    expect(mayHave([grant('SELECT (`a`), INSERT (`a`, `b`)', '`shop`.`orders`')], 'INSERT', orders)).toBe(true);
    expect(mayHave([grant('CREATE', '`shop`.`orders`')], 'CREATE', { schema: 'shop' })).toBe(false);
  });

  test('are found for a schema whose name has a backtick or an underscore', () => {
    expect(missingOnSchema([grant('SELECT', '`a``b\\_c`.*')], 'a`b_c', ['SELECT'])).toEqual([]);
  });
});

describe('what a server says of itself', () => {
  test.each([
    ['9.7.1', 'mysql', [9, 7, 1]],
    ['8.0.43-0ubuntu0.24.04.1', 'mysql', [8, 0, 43]],
    ['11.8.2-MariaDB-log', 'mariadb', [11, 8, 2]],
    ['5.5.5-10.11.6-MariaDB', 'mariadb', [10, 11, 6]],
  ])('%s is %s', (version, flavour, number) => {
    expect(parseServerVersion(version)).toEqual({ flavour, version, number });
  });

  test.each(['5.7.44', '10.5.9-MariaDB', 'gibberish'])('%s is refused', (version) => {
    expect(() => parseServerVersion(version)).toThrow(expect.objectContaining({ code: 'DATABASE_UNSUPPORTED' }));
  });

  test('is compared part by part', () => {
    const server = { number: [10, 11, 6] } as unknown as Parameters<typeof atLeast>[0]; // Only the number is looked at.
    expect([atLeast(server, 10, 11, 6), atLeast(server, 9, 99), atLeast(server, 10, 2)]).toEqual([true, true, true]);
    expect([atLeast(server, 10, 11, 7), atLeast(server, 11), atLeast(server, 10, 12)]).toEqual([false, false, false]);
  });

  test('of a table is its definition without the counter, also where a comment looks like one', () => {
    expect(
      withoutCounter(
        "CREATE TABLE `t` (\n  `a` int COMMENT ') AUTO_INCREMENT=5'\n) ENGINE=InnoDB AUTO_INCREMENT=7 COMMENT='x'",
      ),
    ).toBe("CREATE TABLE `t` (\n  `a` int COMMENT ') AUTO_INCREMENT=5'\n) ENGINE=InnoDB COMMENT='x'");
  });

  test('of members is unescaped', () => {
    expect(parseMembers("enum('a','it''s','x,y','')")).toEqual(['a', "it's", 'x,y', '']);
    expect(parseMembers('int')).toEqual([]);
  });

  test('of members keeps backslashes, line ends and NUL', () => {
    expect(parseMembers(String.raw`enum('a\\b','c\nd','e\rf','g\0h','\\n','end\\','q\\''q','\\\\')`)).toEqual([
      ...['a\\b', 'c\nd', 'e\rf', 'g\0h', '\\n', 'end\\', "q\\'q", '\\\\'],
    ]);
  });

  test("of a foreign key's rules is told from the definition, also where names look like rules", () => {
    const created = [
      'CREATE TABLE `c` (',
      '  `CONSTRAINT ``k``` int(11) DEFAULT NULL,',
      '  CONSTRAINT `k` FOREIGN KEY (`a`) REFERENCES `p` (`id`),',
      '  CONSTRAINT `k ON DELETE CASCADE` FOREIGN KEY (`b ON UPDATE CASCADE`) REFERENCES `p` (`id`) ON DELETE NO ACTION,',
      '  CONSTRAINT `l` FOREIGN KEY (`b`) REFERENCES `p` (`id`) ON DELETE SET NULL ON UPDATE CASCADE',
      ') ENGINE=InnoDB',
    ].join('\n');
    expect(foreignKeyRules(created, 'k')).toEqual({ onDelete: 'RESTRICT', onUpdate: 'RESTRICT' });
    expect(foreignKeyRules(created, 'k ON DELETE CASCADE')).toEqual({ onDelete: 'NO ACTION', onUpdate: 'RESTRICT' });
    expect(foreignKeyRules(created, 'l')).toEqual({ onDelete: 'SET NULL', onUpdate: 'CASCADE' });
    expect(foreignKeyRules(created, 'gone')).toEqual({ onDelete: 'UNKNOWN', onUpdate: 'UNKNOWN' });
  });
});
