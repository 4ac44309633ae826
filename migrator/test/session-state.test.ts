import { describe, expect, test } from 'vitest';
import { classifyStatement } from '../src/core/classify-statement.ts';
import { resumePlan } from '../src/core/session-state.ts';
import { splitStatements } from '../src/core/split-statements.ts';

const classified = (sql: string) =>
  [...splitStatements(sql)].map((statement) => ({ statement, class: classifyStatement(statement.text) }));
const outcome = (sql: string, from: number): string => {
  const plan = resumePlan(classified(sql), from);
  if (plan.kind === 'replay') return ['replay', ...plan.statements.map(({ index }) => index)].join(' ');
  if (plan.kind === 'back') return `back to ${plan.to.index}`;
  return `lost ${plan.what}, made by ${plan.madeBy.index}, needed by ${plan.neededBy.index}`;
};

describe('going on in a new session', () => {
  test.each([
    ['plain SETs and USE are replayed', 'SET a = 1; CREATE TABLE t (x INT); USE s; DROP TABLE t', 3, 'replay 0 2'],
    [
      'settings saved and restored, as dumps do it, are replayed',
      "SET @OLD=@@sql_mode, sql_mode=''; INSERT INTO t VALUES (1); SET sql_mode=@OLD",
      2,
      'replay 0',
    ],
    [
      'a variable of a query is lost',
      'SET @a = (SELECT MAX(id) FROM t); DROP TABLE u; INSERT INTO t VALUES (@a)',
      1,
      'lost @a, made by 0, needed by 2',
    ],
    ['a variable of a clock is lost', 'SET @a = NOW(); SELECT @a', 1, 'lost @a, made by 0, needed by 1'],
    [
      'a variable of an unsteady setting is lost',
      'SET @a = @@timestamp; SELECT @a',
      1,
      'lost @a, made by 0, needed by 1',
    ],
    ['a variable that nothing reads later is not missed', 'SET @a = NOW(); SELECT @a; DROP TABLE t', 2, 'replay'],
    ['a SELECT INTO is lost', 'SELECT 1 INTO @a; SELECT 1; SELECT @A', 2, 'lost @a, made by 0, needed by 2'],
    [
      'a temporary table is lost when it is used',
      'CREATE TEMPORARY TABLE x (a INT); DROP TABLE t; INSERT INTO t SELECT * FROM `x`',
      1,
      'lost the temporary table x, made by 0, needed by 2',
    ],
    [
      'a temporary table dropped before is not',
      'CREATE TEMPORARY TABLE x (a INT); DROP TABLE x; SELECT * FROM x',
      2,
      'replay',
    ],
    [
      'locks are lost',
      'LOCK TABLES t WRITE; INSERT INTO t VALUES (1); UNLOCK TABLES; SELECT 1',
      1,
      'lost the locks, made by 0, needed by 1',
    ],
    ['locks given back are not', 'LOCK TABLES t WRITE; INSERT INTO t VALUES (1); UNLOCK TABLES; SELECT 1', 3, 'replay'],
    [
      'prepared statements are lost',
      "PREPARE s FROM 'SELECT 1'; SELECT 2; EXECUTE s",
      1,
      'lost a prepared statement, made by 0, needed by 2',
    ],
    [
      'a transaction starts again',
      'SELECT 1; START TRANSACTION; INSERT INTO t VALUES (1); COMMIT; SELECT 2',
      3,
      'back to 1',
    ],
    ['a transaction that ended does not', 'START TRANSACTION; INSERT INTO t VALUES (1); COMMIT; SELECT 2', 3, 'replay'],
    ['a transaction that DDL ended does not', 'BEGIN; CREATE TABLE t (a INT); SELECT 2', 2, 'replay'],
    [
      'LAST_INSERT_ID of an earlier INSERT is lost',
      'INSERT INTO t VALUES (1); INSERT INTO u VALUES (LAST_INSERT_ID())',
      1,
      'lost the result of the statement before, made by 0, needed by 1',
    ],
    [
      'LAST_INSERT_ID of a later INSERT is not',
      'INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); INSERT INTO u VALUES (LAST_INSERT_ID())',
      1,
      'replay',
    ],
  ])('%s', (_, sql, from, expected) => {
    expect(outcome(sql, from)).toBe(expected);
  });
});
