import { hash } from 'node:crypto';
import { expect, test } from 'vitest';
import { isLedgerBehind, ledgerComment, ledgerRevision, ledgerVersion } from '../src/database/ledger-format.ts';
import { createLedgerTable, ledgerTables } from '../src/database/ledger-schema.ts';

/** The SHA-256 of each revision's tables: whoever changes more of them than comments raises `ledgerRevision` and adds a line. */
const revisions: Readonly<Record<number, string>> = {
  2: '92e7e49ad42823d84e8d6f4216c02fa4d140fa5ca7688ec2b949f3dcc28665bd',
};

test('other tables are another revision', () => {
  const tables = ledgerTables.map((table) => createLedgerTable(table).replaceAll(/ COMMENT ?=?'[^']*'|\s+/g, ' '));
  expect(hash('sha256', tables.join('\n').replaceAll(/ +/g, ' '))).toBe(revisions[ledgerRevision]);
});

test('nothing of the ledger is newer than its revision', () => {
  const since = ledgerTables.flatMap((table) => [table.since, ...table.parts.map((part) => part.since)]);
  expect(Math.max(...since)).toBe(ledgerRevision);
});

test('each line of a table is a column or a key with a name', () => {
  for (const { name, parts } of ledgerTables) {
    expect(
      parts.every((part) => /^\w+$/.test(part.name)),
      name,
    ).toBe(true);
    expect(parts.filter(({ kind }) => kind === 'key').every(({ sql }) => sql.includes('KEY'))).toBe(true);
    expect(new Set(parts.map((part) => `${part.kind} ${part.name}`)).size).toBe(parts.length);
  }
});

test('columns that were added to an old table are such that older programs need not fill them', () => {
  for (const { since, parts } of ledgerTables) {
    for (const part of parts.filter((each) => each.kind === 'column' && each.since > since))
      expect(part.sql).toMatch(/ NULL| DEFAULT /);
  }
});

test('the comment tells format and revision, and programs of the first revision read the format', () => {
  expect(ledgerVersion(ledgerComment)).toEqual({ format: 1, revision: ledgerRevision });
  expect(/format (\d+)/.exec(ledgerComment)?.[1]).toBe('1');
  expect(ledgerVersion('Tableset ledger, format 1')).toEqual({ format: 1, revision: 1 });
  expect(ledgerVersion('')).toBeNull();
});

test('a ledger of an older revision is behind, one of a newer revision or format is not', () => {
  expect(isLedgerBehind('Tableset ledger, format 1')).toBe(true);
  expect(isLedgerBehind('')).toBe(true);
  expect(isLedgerBehind(ledgerComment)).toBe(false);
  expect(isLedgerBehind('Tableset ledger, format 1.99')).toBe(false);
  expect(isLedgerBehind('Tableset ledger, format 2.1')).toBe(false);
});
