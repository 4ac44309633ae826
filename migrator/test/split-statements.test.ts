import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type SplitOptions, splitStatements } from '../src/core/split-statements.ts';

const split = (sql: string, options?: SplitOptions): string[] =>
  [...splitStatements(sql, options)].map(({ text }) => text);
const codeOf = (sql: string, options?: SplitOptions): unknown => {
  try {
    split(sql, options);
    return 'none';
  } catch (error) {
    return error instanceof Error && 'code' in error ? [error.code, error.message] : error;
  }
};

describe('plain scripts', () => {
  test('statements are trimmed, numbered and know their line', () => {
    const sql = '\ufeffSELECT 1;\r\n\r\n  SELECT 2 ;\r\n-- last\r\nSELECT\r\n 3';
    expect([...splitStatements(sql)].map(({ index, line, text }) => [index, line, text])).toEqual([
      [0, 1, 'SELECT 1'],
      [1, 3, 'SELECT 2'],
      [2, 5, 'SELECT\r\n 3'],
    ]);
    expect([...splitStatements(sql, { firstLine: 11, firstIndex: 5 })].map(({ index, line }) => [index, line])).toEqual(
      [
        [5, 11],
        [6, 13],
        [7, 15],
      ],
    );
  });

  test.each([
    ['nothing', '', []],
    ['white space and empty statements', ' ;; \n;\t', []],
    ['comments alone', '-- a\n# b\n/* c; */', []],
    ['a comment without text at the end', 'SELECT 1; --', ['SELECT 1']],
    ['a double dash that is arithmetic', 'SELECT 5--2; SELECT 2', ['SELECT 5--2', 'SELECT 2']],
    ['a double dash before a tab', 'SELECT 1 --\t;\n; SELECT 2', ['SELECT 1 --\t;', 'SELECT 2']],
    ['a semicolon in each kind of comment', 'A -- ;\n B # ;\n C /* ; */ D; E', ['A -- ;\n B # ;\n C /* ; */ D', 'E']],
    ['quotes in comments', "A; -- it's\n# it's \"\n/* ` ' */ B; C", ['A', 'B', 'C']],
    ['comment openers in strings', "A '/*'; B '-- '; C '#'", ["A '/*'", "B '-- '", "C '#'"]],
    ['semicolons in each kind of quotes', 'A \';\' ";" `;`; B', ['A \';\' ";" `;`', 'B']],
    ['doubled quotes', 'A \'\'\';\' """;" ```;`; B', ['A \'\'\';\' """;" ```;`', 'B']],
    ['backslash escapes', "A '\\';' \"\\\";\" '\\\\'; B", ["A '\\';' \"\\\";\" '\\\\'", 'B']],
    ['a backslash in backticks, which is no escape', 'A `\\`; B', ['A `\\`', 'B']],
    ['a comment that does not nest', 'A /* /* ; */ B; C', ['A /* /* ; */ B', 'C']],
    ['\\g and \\G', 'SELECT 1\\g SELECT 2\\G\nSELECT 3', ['SELECT 1', 'SELECT 2', 'SELECT 3']],
    ['characters beyond the basic plane', "INSERT '😀;é'; SELECT `😀`", ["INSERT '😀;é'", 'SELECT `😀`']],
  ])('%s', (_, sql, expected) => {
    expect(split(sql)).toEqual(expected);
  });

  test('a backslash is a character where NO_BACKSLASH_ESCAPES says so', () => {
    const sql = "A '\\'; B '' c";
    expect(split(sql, { noBackslashEscapes: true })).toEqual(["A '\\'", "B '' c"]);
    expect(codeOf(sql)).toEqual(['MIGRATION_SQL_UNTERMINATED', expect.stringContaining('line 1')]);
  });
});

describe('executable comments', () => {
  test.each([
    [
      'stay whole',
      "/*!40101 SET NAMES utf8 */; /*M!100100 SET a=';' */;",
      ['/*!40101 SET NAMES utf8 */', "/*M!100100 SET a=';' */"],
    ],
    ['may hold semicolons and plain comments', '/*! A; /* ; */ B; */; C', ['/*! A; /* ; */ B; */', 'C']],
    [
      'are parts of a statement',
      'CREATE TABLE t (a INT) /*!50100 PARTITION BY HASH (a) */; B',
      ['CREATE TABLE t (a INT) /*!50100 PARTITION BY HASH (a) */', 'B'],
    ],
    ['do not end within a string', "/*! A '*/;' */; B", ["/*! A '*/;' */", 'B']],
    [
      'that no server executes are comments',
      "/*M!999999\\- it's; the sandbox */ \nA; /*!99999 don't /* ' */ ; */ B",
      ['A', 'B'],
    ],
    ['closers elsewhere are arithmetic', 'SELECT 2*/* c */3; B', ['SELECT 2*/* c */3', 'B']],
  ])('%s', (_, sql, expected) => {
    expect(split(sql)).toEqual(expected);
  });
});

describe('DELIMITER', () => {
  test.each([
    ['is a command of its own', 'DELIMITER $$\nA; B$$\ndelimiter ;\nC; D', ['A; B', 'C', 'D']],
    ['may touch the last word', 'DELIMITER $$\nBEGIN A; END$$\nB$$', ['BEGIN A; END', 'B']],
    [
      'of two semicolons, as dumps write it',
      'DELIMITER ;;\n/*!50003 CREATE*/ /*!50003 TRIGGER t BEGIN A; END */;;\nDELIMITER ;\nB;',
      ['/*!50003 CREATE*/ /*!50003 TRIGGER t BEGIN A; END */', 'B'],
    ],
    [
      'in strings and comments does not count',
      "DELIMITER //\nA '//' /* // */ -- //\n// B",
      ["A '//' /* // */ -- //", 'B'],
    ],
    ['made of letters is a whole word', 'DELIMITER go\nA goods category go B\ngo', ['A goods category', 'B']],
    ['may be quoted and followed by anything', "DELIMITER '##' rest\nA ## B", ['A', 'B']],
    ['ends a statement that was forgotten to end', 'DELIMITER $$\nA; END\nDELIMITER ;\nB;', ['A; END', 'B']],
    [
      'as a column is left alone',
      'CREATE TABLE t (\n  delimiter varchar(5),\n  b INT\n); B',
      ['CREATE TABLE t (\n  delimiter varchar(5),\n  b INT\n)', 'B'],
    ],
    ['with CRLF', 'DELIMITER //\r\nA;\r\n//\r\nDELIMITER ;\r\nB;\r\n', ['A;', 'B']],
  ])('%s', (_, sql, expected) => {
    expect(split(sql)).toEqual(expected);
  });
});

const programs: readonly (readonly [string, string])[] = [
  ['a procedure', 'CREATE PROCEDURE p(a DECIMAL(10,2)) BEGIN SELECT 1; SELECT 2; END'],
  ['a procedure with clauses', "CREATE DEFINER=`root`@`%` PROCEDURE p() COMMENT ';' SQL SECURITY INVOKER BEGIN A; END"],
  [
    'a definer without quotes',
    'CREATE OR REPLACE DEFINER=admin@localhost FUNCTION f() RETURNS INT BEGIN A; RETURN 1; END',
  ],
  ['IF NOT EXISTS', 'CREATE PROCEDURE IF NOT EXISTS p() BEGIN IF a THEN B; ELSEIF c THEN D; ELSE E; END IF; END'],
  ['a body without BEGIN', 'CREATE PROCEDURE p() SELECT IF(a, b, c)'],
  [
    'a body that is an IF',
    'CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW IF (NEW.a) THEN SET NEW.b = IF(1, 2, 3); END IF',
  ],
  ['a trigger behind another', 'CREATE TRIGGER t AFTER UPDATE ON x FOR EACH ROW FOLLOWS s BEGIN A; END'],
  [
    'a trigger with one SET',
    'CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET NEW.a = CASE WHEN NEW.b THEN 1 ELSE 2 END',
  ],
  [
    'a function that returns at once',
    'CREATE FUNCTION f(a INT) RETURNS VARCHAR(9) CHARSET utf8mb4 DETERMINISTIC RETURN IF(a, 1, 2)',
  ],
  ['an event', "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS IF(1, NOW(), NOW()) COMMENT 'x' DO BEGIN A; END"],
  ['an altered event', 'ALTER EVENT e DO BEGIN A; B; END'],
  ['loops', 'CREATE PROCEDURE p() l: LOOP WHILE a DO REPEAT A; UNTIL b END REPEAT; END WHILE; LEAVE l; END LOOP l'],
  ['labels', 'CREATE PROCEDURE p() main: BEGIN a: BEGIN A; END a; LEAVE main; END main'],
  [
    'a CASE statement and a CASE expression',
    'CREATE PROCEDURE p() BEGIN CASE a WHEN 1 THEN SET b = CASE c WHEN 1 THEN 2 ELSE 3 END; ELSE A; END CASE; B; END',
  ],
  ['a CASE in UNTIL', 'CREATE PROCEDURE p() BEGIN REPEAT A; UNTIL CASE WHEN a THEN 1 ELSE 0 END END REPEAT; B; END'],
  [
    'handlers',
    "CREATE PROCEDURE p() BEGIN DECLARE CONTINUE HANDLER FOR SQLSTATE VALUE '42S02', NOT FOUND SET a = IF(1, 2, 3); DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN A; END; DECLARE EXIT HANDLER FOR 1051 IF a THEN B; END IF; C; END",
  ],
  [
    'columns called begin and end',
    'CREATE PROCEDURE p() BEGIN INSERT INTO t (begin, end) SELECT t.begin, t.end FROM t; SELECT end FROM t; END',
  ],
  ['assignments with :=', 'CREATE PROCEDURE p() BEGIN SET a := IF(1, 2, 3); SET @b:=CASE WHEN 1 THEN 2 END; END'],
  ['REPEAT and IF as functions', "CREATE PROCEDURE p() BEGIN SELECT REPEAT('a', 3), IF(1, 2, 3); END"],
  ['IF EXISTS', 'CREATE PROCEDURE p() BEGIN IF EXISTS (SELECT 1) THEN DROP TABLE IF EXISTS t; END IF; END'],
  ['a nested IF in ELSE', 'CREATE PROCEDURE p() BEGIN IF a THEN A; ELSE IF b THEN B; END IF; END IF; C; END'],
  [
    'executable comments around the parts',
    '/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`%`*/ /*!50003 TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN A; B; END */',
  ],
  ['comments in the body', "CREATE PROCEDURE p() BEGIN -- it's; END\n A; /* BEGIN */ # IF\n B; END"],
  ['a block outside programs', 'BEGIN NOT ATOMIC DECLARE a INT; IF a THEN B; END IF; END'],
  ['an IF outside programs', 'IF (SELECT 1) THEN A; END IF'],
  ['a FOR loop', 'CREATE PROCEDURE p() BEGIN FOR i IN 1..10 DO IF i THEN A; END IF; END FOR; END'],
  ['DO within a loop', 'CREATE PROCEDURE p() BEGIN WHILE a DO DO IF(1, 2, 3); DO SLEEP(1); END WHILE; END'],
  ['lower case', 'create procedure p() begin if a then b; end if; end'],
];

describe('stored programs without DELIMITER', () => {
  test.each(programs)('%s', (_, program) => {
    expect(split(`A;\n${program};\nB;`)).toEqual(['A', program, 'B']);
  });

  test.each(programs)('%s, with DELIMITER', (_, program) => {
    expect(split(`A;\nDELIMITER //\n${program} //\nDELIMITER ;\nB;`)).toEqual(['A', program, 'B']);
  });

  test.each([
    ['BEGIN as the start of a transaction', 'BEGIN; A; COMMIT', ['BEGIN', 'A', 'COMMIT']],
    ['BEGIN WORK', 'BEGIN WORK; A; END', ['BEGIN WORK', 'A', 'END']],
    [
      'a table called like a program',
      'CREATE TABLE event (a INT); ALTER TABLE trigger_x ADD b INT; A',
      ['CREATE TABLE event (a INT)', 'ALTER TABLE trigger_x ADD b INT', 'A'],
    ],
    [
      'DROP and SHOW of programs',
      'DROP PROCEDURE IF EXISTS p; SHOW CREATE EVENT e; A',
      ['DROP PROCEDURE IF EXISTS p', 'SHOW CREATE EVENT e', 'A'],
    ],
    [
      'a loadable function',
      "CREATE FUNCTION f RETURNS STRING SONAME 'x.so'; A",
      ["CREATE FUNCTION f RETURNS STRING SONAME 'x.so'", 'A'],
    ],
    ['CASE outside programs', 'SELECT CASE WHEN 1 THEN 2 END; A', ['SELECT CASE WHEN 1 THEN 2 END', 'A']],
  ])('%s', (_, sql, expected) => {
    expect(split(sql)).toEqual(expected);
  });
});

describe('refusals name the file and the line', () => {
  test.each([
    ['a string', "A;\n\nB 'x;\n", 'MIGRATION_SQL_UNTERMINATED', 'f.sql:3: the string that starts here is never closed'],
    [
      'a quoted name',
      'A;\nB `x',
      'MIGRATION_SQL_UNTERMINATED',
      'f.sql:2: the quoted name that starts here is never closed',
    ],
    ['a comment', 'A;\n/* B', 'MIGRATION_SQL_UNTERMINATED', 'f.sql:2: the comment that starts here is never closed'],
    [
      'an executable comment',
      '/*! A\n',
      'MIGRATION_SQL_UNTERMINATED',
      'f.sql:1: the executable comment that starts here is never closed',
    ],
    [
      'a block',
      'A;\nCREATE PROCEDURE p() BEGIN A; B;\n',
      'MIGRATION_SQL_UNTERMINATED',
      'f.sql:2: the block of the stored program that starts here is never closed',
    ],
    [
      'DELIMITER without one',
      'A;\nDELIMITER\nB',
      'MIGRATION_DELIMITER_INVALID',
      'f.sql:2: DELIMITER names no delimiter',
    ],
    [
      'DELIMITER with a backslash',
      'DELIMITER \\\\\nB',
      'MIGRATION_DELIMITER_INVALID',
      'f.sql:1: DELIMITER may not contain a backslash',
    ],
    [
      'a client command',
      'A;\nsource other.sql\n',
      'MIGRATION_CLIENT_COMMAND',
      'f.sql:2: source is a command of the mysql client, which no server understands',
    ],
  ])('%s', (_, sql, code, message) => {
    expect(codeOf(sql, { file: 'f.sql' })).toEqual([code, message]);
  });
});

const word = fc.constantFrom('SELECT', 'a', 'BEGIN_x', '12', 'é', '=', '(', ')', ',', '@x', '.', '5--2', 'delimiter_x');
const inner = fc.string({
  unit: fc.constantFrom(';', 'x', ' ', '\n', '--', '/*', '*/', '#', '$$', 'DELIMITER ;', 'é😀'),
});
const literal = fc.tuple(fc.constantFrom("'", '"', '`'), inner).map(([quote, text]) => quote + text + quote);
const comment = fc.oneof(
  // Not simply taken out, which could join another end of the comment.
  inner.map((text) => `/* ${text.replaceAll('*/', '*-')} */`),
  inner.map((text) => `-- ${text.replaceAll('\n', '')}\n`),
  inner.map((text) => `#${text.replaceAll('\n', '')}\n`),
);
const executable = fc.array(fc.oneof(word, literal)).map((parts) => `/*!50001 ${parts.join(' ')} ; */`);
const statement = fc
  .tuple(word, fc.array(fc.oneof(word, literal, comment, executable)))
  .map(([first, rest]) => [`x${first}`, ...rest, 'x'].join(' '));

describe('properties', () => {
  test('joined statements come apart as they were, whatever their strings and comments hold', () => {
    fc.assert(
      fc.property(
        fc.array(statement),
        fc.constantFrom(';', '$$', '//', ';;'),
        fc.constantFrom('', '\n', ' \r\n'),
        (statements, delimiter, gap) => {
          const sql = `DELIMITER ${delimiter}\n${statements.map((text) => text + gap + delimiter).join(gap)}`;
          expect(split(sql)).toEqual(statements);
        },
      ),
    );
  });

  test('whatever the text, what is not refused is cut into pieces of itself with only gaps between them', () => {
    const piece = fc.oneof(
      word,
      literal,
      comment,
      executable,
      inner,
      fc.constantFrom(';', '\\g', 'BEGIN', 'END', "'", '`', 'CREATE TRIGGER'),
    );
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const sql = pieces.join(' ');
        let previousEnd = 0;
        try {
          for (const { text, start, end, line } of splitStatements(sql)) {
            expect(sql.slice(start, end)).toBe(text);
            expect(text).not.toBe('');
            expect(start).toBeGreaterThanOrEqual(previousEnd);
            expect(line).toBe(sql.slice(0, start).split('\n').length);
            previousEnd = end;
          }
        } catch (error) {
          expect(error).toHaveProperty('code', expect.stringMatching(/^MIGRATION_/));
        }
      }),
    );
  });
});
