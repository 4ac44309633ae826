import type { StatementClass } from './classify-statement.ts';
import type { Statement } from './split-statements.ts';
import { isSymbolAt, isUserVariableAt, type SqlWord, sqlWords } from './sql-words.ts';

export interface ClassifiedStatement {
  readonly statement: Statement;
  readonly class: StatementClass;
}

/** How a new session can go on with a file that an older session left at some statement. */
export type ResumePlan =
  /** Run `statements` (SET and USE) in order on the new session, then go on. */
  | { readonly kind: 'replay'; readonly statements: readonly Statement[] }
  /** The statement lies in an explicit transaction that is gone: go on from the statement that started it. */
  | { readonly kind: 'back'; readonly to: Statement }
  /** Later statements need what `madeBy` gave the older session, and it cannot be made again. */
  | { readonly kind: 'lost'; readonly what: string; readonly madeBy: Statement; readonly neededBy: Statement };

// System variables whose value changes by itself, so that saving them twice saves two things.
const unsteadyVariables = new Set([
  'TIMESTAMP',
  'LAST_INSERT_ID',
  'IDENTITY',
  'INSERT_ID',
  'WARNING_COUNT',
  'ERROR_COUNT',
  'GTID_EXECUTED',
]);
const literalWords = new Set(['TRUE', 'FALSE', 'NULL', 'ON', 'OFF', 'DEFAULT', 'NAMES', 'SESSION', 'LOCAL', 'SET']);

/**
 * Decides whether statement `from` (an index into `statements`) and those behind it can run on a new session after the
 * session that ran the statements before it is gone. Plain SETs are replayed, and so are user variables that only save
 * literals and settings, as dumps do; what else a session holds is lost when a later statement uses it.
 */
export function resumePlan(statements: readonly ClassifiedStatement[], from: number): ResumePlan {
  const before = statements.slice(0, from);
  const after = statements.slice(from);
  const transaction = openTransaction(before);
  if (transaction !== undefined) return { kind: 'back', to: transaction };
  const replayed: Statement[] = [];
  const replayable = new Set<string>();
  const lost: { what: string; madeBy: Statement; isNeeded: (by: ClassifiedStatement) => boolean }[] = [];
  for (const { statement, class: made } of before) {
    if (isReplayable(statement.text, made, replayable)) {
      replayed.push(statement);
      for (const name of made.variablesWritten) replayable.add(name);
    } else {
      for (const name of made.variablesWritten) {
        replayable.delete(name);
        lost.push({ what: `@${name}`, madeBy: statement, isNeeded: (by) => by.class.variablesRead.includes(name) });
      }
      if (made.kind === 'set-session') lost.push({ what: 'a setting', madeBy: statement, isNeeded: () => true });
    }
  }
  lost.push(...openObjects(before), ...lostResults(before, after));
  for (const { what, madeBy, isNeeded } of lost) {
    const neededBy = after.find((by) => isNeeded(by))?.statement;
    if (neededBy !== undefined) return { kind: 'lost', what, madeBy, neededBy };
  }
  return { kind: 'replay', statements: replayed };
}

function openTransaction(before: readonly ClassifiedStatement[]): Statement | undefined {
  let open: Statement | undefined;
  for (const {
    statement,
    class: { kind, verb, implicitCommit },
  } of before) {
    if (kind === 'transaction' && ['START TRANSACTION', 'BEGIN', 'SET autocommit'].includes(verb)) open = statement;
    else if (implicitCommit) open = undefined;
  }
  return open;
}

function isReplayable(text: string, made: StatementClass, replayable: ReadonlySet<string>): boolean {
  if (made.kind === 'use') return true;
  if (made.kind !== 'set-session' && made.kind !== 'set-user-variable') return false;
  if (!made.variablesRead.every((name) => replayable.has(name))) return false;
  const words = sqlWords(text);
  return made.kind === 'set-session' || words.every((word, index) => isSteady(words, word, index));
}

// A literal, a setting or an assignment: nothing whose value depends on when it is read.
function isSteady(words: readonly SqlWord[], word: SqlWord, index: number): boolean {
  if (word.kind === 'symbol') return word.value !== '(' && word.value !== ')';
  if (word.kind !== 'word' || literalWords.has(word.value) || /^\d/.test(word.value)) return true;
  const isVariable = isSymbolAt(words, index - 1, '@') && !isUserVariableAt(words, index - 1);
  if (isVariable || isSymbolAt(words, index - 1, '.')) return !unsteadyVariables.has(word.value);
  return isUserVariableAt(words, index - 1) || isSymbolAt(words, index + 1, '=') || isSymbolAt(words, index + 1, ':');
}

interface LostThing {
  readonly what: string;
  readonly madeBy: Statement;
  readonly isNeeded: (by: ClassifiedStatement) => boolean;
}

/** Temporary tables, locks and prepared statements that were made and not undone. */
function openObjects(before: readonly ClassifiedStatement[]): LostThing[] {
  const open = new Map<string, LostThing>();
  for (const { statement, class: made } of before) {
    if (made.verb === 'UNLOCK TABLES' || made.verb === 'LOCK TABLES' || made.verb === 'START TRANSACTION')
      open.delete('locks');
    if (made.kind === 'lock-tables') open.set('locks', { what: 'the locks', madeBy: statement, isNeeded: () => true });
    if (made.kind === 'other' && made.verb === 'HANDLER')
      open.set('handler', needs('an open handler', statement, 'HANDLER'));
    if (made.takesNamedLock) open.set('named lock', { what: 'a named lock', madeBy: statement, isNeeded: () => true });
    if (made.kind === 'prepare') open.set('prepared', needs('a prepared statement', statement, 'EXECUTE'));
    if (made.kind === 'deallocate') open.delete('prepared');
    for (const { name } of made.targets) {
      if (made.verb.startsWith('DROP')) open.delete(`table ${name}`);
      else if (made.kind === 'temporary-table') {
        open.set(`table ${name}`, {
          what: `the temporary table ${name}`,
          madeBy: statement,
          isNeeded: (by) => mentions(by, name),
        });
      }
    }
  }
  return [...open.values()];
}

function needs(what: string, madeBy: Statement, verb: string): LostThing {
  return { what, madeBy, isNeeded: (by) => by.class.verb === verb };
}

function mentions({ statement }: ClassifiedStatement, name: string): boolean {
  return sqlWords(statement.text).some((word) => word.raw.toLowerCase() === name.toLowerCase());
}

/** LAST_INSERT_ID() and the like tell of a statement before `after`, unless a new one comes between. */
function lostResults(before: readonly ClassifiedStatement[], after: readonly ClassifiedStatement[]): LostThing[] {
  const reader = after.findIndex(({ class: { readsPreviousResult } }) => readsPreviousResult);
  const writer = after.findIndex(({ class: { kind } }) => kind === 'dml');
  const madeBy = before.findLast(
    ({ class: { kind } }) => kind === 'dml' || kind === 'select' || kind === 'call',
  )?.statement;
  if (reader === -1 || madeBy === undefined || (writer !== -1 && writer < reader)) return [];
  return [
    { what: 'the result of the statement before', madeBy, isNeeded: ({ class: use }) => use.readsPreviousResult },
  ];
}
