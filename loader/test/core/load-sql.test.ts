import { describe, expect, test } from 'vitest';
import {
  clearUniques,
  createKeys,
  createStage,
  deletableChildren,
  findDeletes,
  findUpserts,
  findUpsertsValues,
  forgetReferences,
  type LoadTarget,
  loadDataClauses,
  publishInserts,
  publishUpdates,
  sameValue,
} from '../../src/core/load-sql.ts';
import { columnLines, stagedColumn } from '../../src/core/staged-column.ts';
import { reference, table } from './definitions.ts';
import { column } from './encode-text.ts';

function target(
  definition: ReturnType<typeof table>,
  key: readonly string[],
  more: Partial<LoadTarget> = {},
): LoadTarget {
  return { definition, key, columns: definition.columns, ordinal: 3, archived: null, ...more };
}

describe('columns of the staging table', () => {
  const definition = (line: string) =>
    table(
      't',
      {},
      { createStatement: `CREATE TABLE \`t\` (\n  \`c\` ${line},\n  PRIMARY KEY (\`c\`)\n) ENGINE=InnoDB` },
    );
  test.each([
    ['int NOT NULL AUTO_INCREMENT', 'int'],
    ['int(10) unsigned zerofill DEFAULT NULL', 'int(10) unsigned zerofill'],
    [
      "varchar(9) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT 'x) NOT NULL, `y` int' COMMENT 'it''s'",
      'varchar(9) CHARACTER SET latin1 COLLATE latin1_bin',
    ],
    ["enum('a NOT NULL','it''s,)','DEFAULT 1') DEFAULT NULL", "enum('a NOT NULL','it''s,)','DEFAULT 1')"],
    ['decimal(65,30) NOT NULL DEFAULT (uuid() + (1)) /*!80023 INVISIBLE */', 'decimal(65,30)'],
    ['timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)', 'timestamp(6)'],
    [
      'longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`c`))',
      'longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
    ],
    ["varchar(9) DEFAULT concat('a', ' b') INVISIBLE", 'varchar(9)'],
  ])('%s is staged as its bare type', (line, type) => {
    expect(stagedColumn(definition(line), column('c', 'int'))).toBe(`\`c\` ${type} NULL DEFAULT NULL`);
    expect(stagedColumn(definition(line), column('c', 'int', { nullable: false }))).toBe(`\`c\` ${type} NOT NULL`);
  });

  test('keep the spatial reference, and one in a comment is none', () => {
    const spot = column('c', 'point', { nullable: false });
    expect(stagedColumn(definition("point NOT NULL COMMENT 'x' /*!80003 SRID 4326 */"), spot)).toBe(
      '`c` point NOT NULL SRID 4326',
    );
    expect(stagedColumn(definition("point NOT NULL COMMENT '/*!80003 SRID 4326 */'"), spot)).toBe('`c` point NOT NULL');
  });

  test('are told from keys and constraints, whatever their names', () => {
    const lines = columnLines(
      'CREATE TABLE `t` (\n  `a``b` int NOT NULL,\n  `KEY` int,\n  PRIMARY KEY (`KEY`),\n  KEY `x` (`KEY`)\n)',
    );
    expect([...lines]).toEqual([
      ['a`b', 'int NOT NULL'],
      ['KEY', 'int'],
    ]);
  });
});

describe('statements of a load', () => {
  const definition = table('t', { b: 'int NOT NULL', 'a`': 'varchar(9) NOT NULL', v: 'int', 'sel`ect': 'varchar(9)' });
  const pair = target(definition, ['a`', 'b']);

  test('name every column of the key table, since its order is not that of the key', () => {
    expect(createKeys(pair)).toMatch(
      /^CREATE TEMPORARY TABLE `tableset_keys_3` \(`b` int NOT NULL, `a``` varchar\(9\) NOT NULL, /,
    );
    for (const statement of [findUpserts(pair, 'upsert'), findDeletes(pair, null)])
      expect(statement).toContain('INTO `tableset_keys_3` (`a```, `b`, `tableset_operation`) SELECT');
  });

  test('quote every name', () => {
    for (const statement of [
      createStage(pair),
      findUpserts(pair, 'upsert'),
      publishUpdates(pair),
      publishInserts(pair),
    ]) {
      expect(statement).toContain('`sel``ect`');
      expect(statement.replaceAll(/`(?:[^`]|``)+`/g, '')).not.toContain('`');
    }
  });

  test('update the key too, whose bytes may differ where its collation calls it equal', () => {
    expect(publishUpdates(pair)).toContain('SET t.`b` = s.`b`, t.`a``` = s.`a```, t.`v` = s.`v`');
  });

  test('find only new keys in mode insert, and changed rows otherwise', () => {
    expect(findUpserts(pair, 'insert')).toMatch(/WHERE t\.`a``` IS NULL$/);
    expect(findUpserts(pair, 'mirror')).toMatch(/WHERE t\.`a``` IS NULL OR NOT \(/);
  });

  test('hold back what is older than the archive', () => {
    const archived = target(definition, ['b'], { archived: { dateColumn: 'v', before: '2024-01-01' } });
    expect(findUpserts(archived, 'upsert')).toContain(
      'IF(MONTH(s.`v`) > 0 AND DAYOFMONTH(s.`v`) > 0 AND s.`v` < ?, 4, 1)',
    );
    expect(findUpsertsValues(archived)).toEqual(['2024-01-01']);
    expect(findUpsertsValues(pair)).toEqual([]);
    const counted = target(definition, ['b'], { archived: { dateColumn: 'v', before: 1_700_000_000n } });
    expect(findUpserts(counted, 'upsert')).toContain('IF(s.`v` > 0 AND s.`v` < ?, 4, 1)');
    expect(findUpsertsValues(counted)).toEqual([1_700_000_000n]);
  });

  test('clear nullable columns of a unique key wherever any of its columns changes', () => {
    const [, , v, text] = definition.columns;
    const area = column('area', 'int', { nullable: false });
    const statement = clearUniques(pair, [area, ...(v ? [v] : []), ...(text ? [text] : [])]);
    expect(statement).toContain('SET t.`v` = NULL, t.`sel``ect` = NULL WHERE');
    expect(statement).toContain('NOT (s.`area` <=> t.`area`) OR NOT (s.`v` <=> t.`v`)');
  });

  test('delete what no row of the table refers to by any of its foreign keys', () => {
    const tree = target(table('tree', { id: 'int NOT NULL', up: 'int', next: 'int NOT NULL' }), ['id']);
    const references = [reference('tree', 'up', 'tree'), reference('tree', 'next', 'tree')];
    expect(deletableChildren(tree, references)).toMatch(/c0\.`up` IS NULL AND c1\.`next` IS NULL$/);
    expect(forgetReferences(tree, references)).toContain('SET t.`up` = NULL WHERE');
    expect(forgetReferences(tree, references.slice(1))).toBeNull();
  });

  test.each([
    ['int', 's.`c` <=> t.`c`'],
    ["enum('a')", 's.`c` + 0 <=> t.`c` + 0'],
    ['float', '(s.`c` <=> t.`c` AND ATAN2(s.`c`, -1) <=> ATAN2(t.`c`, -1))'],
    ['varchar(9)', 'CAST(s.`c` AS BINARY) <=> CAST(t.`c` AS BINARY)'],
    ['point', 'HEX(s.`c`) <=> HEX(t.`c`)'],
  ])('%s is the same where its bytes are', (type, sql) => {
    expect(sameValue(column('c', type), 's', 't')).toBe(sql);
  });

  test('read load text by its own clauses, never by defaults', () => {
    expect(loadDataClauses(44)).toBe(
      "CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' ENCLOSED BY '' ESCAPED BY '\\\\' LINES STARTING BY '' TERMINATED BY '\\n'",
    );
    expect(loadDataClauses(9)).toContain("TERMINATED BY '\\t'");
  });
});
