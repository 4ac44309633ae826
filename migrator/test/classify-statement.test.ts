import { describe, expect, test } from 'vitest';
import { classifyStatement } from '../src/core/classify-statement.ts';

describe('the kind of a statement and whether it commits', () => {
  test.each([
    ['CREATE TABLE t (a INT)', 'ddl', true],
    ['/*!40101 CREATE TABLE t (a INT) */', 'ddl', true],
    ['/* a */ alter table t add b int', 'ddl', true],
    ['DROP VIEW v', 'ddl', true],
    ['CREATE DATABASE d', 'ddl', true],
    ['CREATE TEMPORARY TABLE t (a INT)', 'temporary-table', false],
    ['CREATE OR REPLACE TEMPORARY TABLE t (a INT)', 'temporary-table', false],
    ['DROP TEMPORARY TABLE IF EXISTS t', 'temporary-table', false],
    ["INSERT INTO t VALUES ('DROP TABLE t')", 'dml', false],
    ['REPLACE t SET a = 1', 'dml', false],
    ['UPDATE t SET a = 1', 'dml', false],
    ['DELETE FROM t', 'dml', false],
    ["LOAD DATA LOCAL INFILE 'f' INTO TABLE t", 'dml', false],
    ['WITH x AS (SELECT 1) UPDATE t JOIN x SET a = 1', 'dml', false],
    ['WITH RECURSIVE x AS (SELECT 1 UNION SELECT 2) SELECT * FROM x', 'select', false],
    ['(SELECT 1) UNION (SELECT 2)', 'select', false],
    ['SHOW TABLES', 'select', false],
    ['TRUNCATE t', 'truncate', true],
    ['SET NAMES utf8mb4', 'set-session', false],
    ["SET SESSION sql_mode = '', @@foreign_key_checks = 0", 'set-session', false],
    ['SET @@session.sql_mode = @old', 'set-session', false],
    ['SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED', 'set-session', false],
    ['SET @a = 1', 'set-user-variable', false],
    ['/*!40014 SET @OLD_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */', 'set-user-variable', false],
    ['SET GLOBAL max_connections = 5', 'other', false],
    ['SET @@global.x = 5', 'other', false],
    ['SET @@PERSIST.x = 5', 'other', false],
    ['SET autocommit = 0', 'transaction', true],
    ['SET @@session.autocommit = 1', 'transaction', true],
    ['SET TRANSACTION READ ONLY', 'transaction', false],
    ["SET PASSWORD = 'x'", 'grant', true],
    ['SET STATEMENT max_statement_time=1 FOR UPDATE t SET a = 1', 'dml', false],
    ['LOCK TABLES t WRITE', 'lock-tables', true],
    ['UNLOCK TABLES', 'unlock-tables', true],
    ["PREPARE s FROM 'SELECT 1'", 'prepare', false],
    ['EXECUTE s USING @a', 'execute', true],
    ['DEALLOCATE PREPARE s', 'deallocate', false],
    ['DROP PREPARE s', 'deallocate', false],
    ['START TRANSACTION', 'transaction', true],
    ['BEGIN', 'transaction', true],
    ['COMMIT', 'transaction', true],
    ['ROLLBACK', 'transaction', true],
    ['ROLLBACK TO SAVEPOINT s', 'transaction', false],
    ['SAVEPOINT s', 'transaction', false],
    ['USE d', 'use', false],
    ['CALL p()', 'call', true],
    ['GRANT SELECT ON t TO u', 'grant', true],
    ['CREATE USER u', 'grant', true],
    ['ALTER USER u', 'grant', true],
    ['DROP ROLE r', 'grant', true],
    ['ANALYZE TABLE t', 'other', true],
    ['OPTIMIZE TABLE t', 'other', true],
    ['FLUSH TABLES', 'other', true],
    ['START REPLICA', 'other', true],
    ['BEGIN NOT ATOMIC SELECT 1; END', 'other', true],
    ['DO SLEEP(1)', 'other', false],
    ['UNHEARD OF', 'other', true],
  ])('%s', (text, kind, implicitCommit) => {
    const { kind: found, implicitCommit: commits } = classifyStatement(text);
    expect([found, commits]).toEqual([kind, implicitCommit]);
  });
});

describe('the object that a statement changes', () => {
  test.each([
    ['CREATE TABLE IF NOT EXISTS `a``b` (x INT)', { type: 'table', name: 'a`b' }, 'CREATE TABLE'],
    ['CREATE OR REPLACE TABLE s.t LIKE u', { type: 'table', schema: 's', name: 't' }, 'CREATE TABLE'],
    ['ALTER ONLINE IGNORE TABLE t ADD COLUMN b INT', { type: 'table', name: 't' }, 'ALTER TABLE'],
    ['ALTER TABLE t RENAME COLUMN a TO b, RENAME INDEX c TO d', { type: 'table', name: 't' }, 'ALTER TABLE'],
    [
      'ALTER TABLE t ADD x INT, RENAME TO s.u',
      { type: 'table', name: 't', renamedTo: { schema: 's', name: 'u' } },
      'ALTER TABLE',
    ],
    ['ALTER TABLE t RENAME u', { type: 'table', name: 't', renamedTo: { name: 'u' } }, 'ALTER TABLE'],
    ['DROP TABLE IF EXISTS t CASCADE', { type: 'table', name: 't' }, 'DROP TABLE'],
    ['DROP TABLE a, b', undefined, 'DROP TABLE'],
    ['RENAME TABLE a TO b', { type: 'table', name: 'a', renamedTo: { name: 'b' } }, 'RENAME TABLE'],
    ['RENAME TABLE a TO b, c TO d', undefined, 'RENAME TABLE'],
    ['CREATE UNIQUE INDEX i USING BTREE ON s.t (a)', { type: 'table', schema: 's', name: 't' }, 'CREATE INDEX'],
    ['DROP INDEX `on` ON t', { type: 'table', name: 't' }, 'DROP INDEX'],
    [
      'CREATE ALGORITHM=MERGE DEFINER=`a`@`b` SQL SECURITY INVOKER VIEW v AS SELECT 1',
      { type: 'view', name: 'v' },
      'CREATE VIEW',
    ],
    ['CREATE DEFINER=event@trigger PROCEDURE p() SELECT 1', { type: 'procedure', name: 'p' }, 'CREATE PROCEDURE'],
    [
      'CREATE AGGREGATE FUNCTION IF NOT EXISTS f(a INT) RETURNS INT RETURN 1',
      { type: 'function', name: 'f' },
      'CREATE FUNCTION',
    ],
    [
      '/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`%`*/ /*!50003 TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1 */',
      { type: 'trigger', name: 'g' },
      'CREATE TRIGGER',
    ],
    ['DROP TRIGGER s.g', { type: 'trigger', schema: 's', name: 'g' }, 'DROP TRIGGER'],
    ['ALTER EVENT e DISABLE', { type: 'event', name: 'e' }, 'ALTER EVENT'],
    ['CREATE SEQUENCE q', { type: 'sequence', name: 'q' }, 'CREATE SEQUENCE'],
    ['TRUNCATE TABLE t', { type: 'table', name: 't' }, 'TRUNCATE'],
    ['INSERT LOW_PRIORITY IGNORE INTO s.t(a) VALUES (1)', { type: 'table', schema: 's', name: 't' }, 'INSERT'],
    ['UPDATE t AS u SET a = 1', { type: 'table', name: 't' }, 'UPDATE'],
    ['UPDATE t, u SET t.a = 1', undefined, 'UPDATE'],
    ['UPDATE t JOIN u ON 1 SET t.a = 1', undefined, 'UPDATE'],
    ['DELETE QUICK FROM t WHERE a = 1', { type: 'table', name: 't' }, 'DELETE'],
    ['DELETE a, b FROM a JOIN b', undefined, 'DELETE'],
    ['DELETE a FROM a JOIN b', undefined, 'DELETE'],
    ['DELETE FROM a USING a JOIN b', undefined, 'DELETE'],
    ["LOAD DATA LOCAL INFILE 'f' REPLACE INTO TABLE t", { type: 'table', name: 't' }, 'LOAD DATA'],
  ])('%s', (text, target, verb) => {
    const found = classifyStatement(text);
    expect([found.target, found.verb]).toEqual([target, verb]);
  });

  test('all objects are listed', () => {
    expect(classifyStatement('DROP TABLE a, s.b').targets).toEqual([
      { type: 'table', name: 'a' },
      { type: 'table', schema: 's', name: 'b' },
    ]);
  });
});

describe('session state', () => {
  test.each([
    ['SET @a = 1', [], ['a']],
    ['SET @a = @B + 1, @c := 2', ['b'], ['a', 'c']],
    ['SET sql_mode = @OLD_SQL_MODE', ['old_sql_mode'], []],
    ['SELECT a, b INTO @x, @y FROM t', [], ['x', 'y']],
    ['SELECT @n := @n + 1', ['n'], ['n']],
    ["LOAD DATA LOCAL INFILE 'f' INTO TABLE t (a, @b) SET c = @d", ['d'], ['b']],
    ["INSERT INTO t VALUES ('@x', `@y`, @@sql_mode)", [], []],
    ["GRANT SELECT ON t TO u@localhost, 'v'@'%'", [], []],
    ['CREATE DEFINER=u@h TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @c = @d', [], []],
    ['PREPARE s FROM @q', ['q'], []],
  ])('%s', (text, read, written) => {
    const { variablesRead, variablesWritten, needsSessionState } = classifyStatement(text);
    expect([variablesRead, variablesWritten, needsSessionState]).toEqual([read, written, read.length > 0]);
  });

  test.each([
    ['INSERT INTO t VALUES (LAST_INSERT_ID())', true, false],
    ['SELECT @@last_insert_id', true, false],
    ["SELECT GET_LOCK('a', 1)", false, true],
    ['EXECUTE s', true, false],
    ['CREATE TEMPORARY TABLE t (a INT)', false, true],
    ['LOCK TABLES t READ', false, true],
    ['UPDATE t SET last_insert_id = 1', false, false],
  ])('%s', (text, needs, makes) => {
    const { needsSessionState, makesSessionState } = classifyStatement(text);
    expect([needsSessionState, makesSessionState]).toEqual([needs, makes]);
  });
});

describe('what leaves the schema', () => {
  test.each([
    ['SELECT t.a FROM t JOIN u ON t.a = u.a WHERE t.b IN (1)', []],
    ['SELECT * FROM other.t', ['other.t']],
    ['SELECT * FROM a, `other`.b AS c', ['other.b']],
    ['SELECT * FROM (a, other.b)', ['other.b']],
    ['UPDATE t SET t.a = 1, t.b = 2', []],
    ['UPDATE other.t SET a = 1', ['other.t']],
    ['INSERT INTO t SELECT u.a, u.b FROM u ON DUPLICATE KEY UPDATE t.a = u.a, t.b = u.b', []],
    ['INSERT INTO other.t (a) VALUES (1.5, 2.5)', ['other.t']],
    ['DELETE a, other.b FROM a JOIN other.b', ['other.b']],
    ['SELECT EXTRACT(YEAR FROM t.a), TRIM(BOTH FROM t.b) FROM t', []],
    ['SELECT other.f(1) FROM t', ['other.f']],
    ['SELECT other.t.a FROM t', ['other.t']],
    ['SELECT NEW.a, t.b FROM t ORDER BY t.a, t.b', []],
    ['CREATE TABLE t (a INT REFERENCES other.u (a))', ['other.u']],
    ['CREATE TABLE t LIKE other.u', ['other.u']],
    ['CREATE INDEX i ON other.t (a)', ['other.t']],
    ['CREATE TRIGGER g BEFORE INSERT ON other.t FOR EACH ROW SET NEW.a = OLD.b', ['other.t']],
    ['CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW BEGIN INSERT INTO other.log VALUES (1); END', ['other.log']],
    ['ALTER TABLE t RENAME TO other.u', ['other.u']],
    ['RENAME TABLE t TO other.u', ['other.u']],
    ['ALTER TABLE t ADD a INT ON UPDATE CASCADE', []],
    ['USE other', ['USE']],
    ['CALL p()', ['CALL']],
    ['GRANT ALL ON a.* TO u', ['GRANT']],
    ['CREATE DATABASE d', ['CREATE DATABASE']],
    ['CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1', ['CREATE EVENT']],
    ['SET GLOBAL a = 1', ['SET GLOBAL']],
    ["SELECT 1 INTO OUTFILE 'f'", ['INTO OUTFILE']],
    ["LOAD DATA INFILE 'f' INTO TABLE t", ['LOAD DATA from a file of the server']],
    ["LOAD DATA LOCAL INFILE 'f' INTO TABLE t", []],
    ["SELECT 1.5, 'FROM other.t'", []],
  ])('%s', (text, leaves) => {
    const found = classifyStatement(text);
    expect([found.leaves, found.leavesSchema]).toEqual([leaves, leaves.length > 0]);
  });
});
