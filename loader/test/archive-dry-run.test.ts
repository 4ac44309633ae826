import { expect, test } from 'vitest';
import { dryRunResult } from '../src/verbs/archive.ts';

const planned = {
  table: 'orders',
  rows: 45,
  keys: { first: ['1'], last: ['45'] },
  dates: { oldest: '2024-08-14 07:29:08.027903', newest: '2024-08-16 03:29:08.027903' },
  sample: [['1'], ['2']],
  cutoff: '2026-10-26 14:00:00.000000',
  comparison: { column: 'created_at', lessThan: '2026-10-26 16:00:00.000000', zone: 'Europe/Berlin' },
  warnings: ['45 of 50 rows of orders (90 %) would go'],
  refusals: ['ARCHIVE_TOO_MANY_DELETES: too many'],
};

test('what a dry run found is readable, and calls nothing archived, verified or deleted', () => {
  const tables = [{ table: 'orders', matched: 47, wouldArchive: 45, skipped: { held: 2 } }];
  const missingGrants = ["GRANT DELETE ON `shop`.`orders` TO 'archiver'@'%'"];
  const { lines, exit } = dryRunResult({ tables, plan: [planned], missingGrants, refusal: null });
  const text = lines.join('\n');
  expect(text).toMatch(/table +matched +would archive +would stay\n.*orders +47 +45 +2 held/);
  expect(text).toContain('created_at is before 2026-10-26 16:00:00.000000 (zone Europe/Berlin)');
  expect(text).toContain('2026-10-26 14:00:00.000000 UTC');
  expect(text).toContain('! 45 of 50 rows');
  expect(text).toContain('✗ ARCHIVE_TOO_MANY_DELETES: too many');
  expect(text).toContain("✗ the account lacks rights: GRANT DELETE ON `shop`.`orders` TO 'archiver'@'%';");
  expect(text).not.toMatch(/\b(archived|verified|deleted)\b/);
  expect(exit).toBeUndefined();
});
