import { classifyDdl, type StatementTarget } from './classify-ddl.ts';
import { classifySet } from './classify-set.ts';
import { qualifiedNames } from './schema-leaks.ts';
import { type SessionUse, sessionUse } from './session-use.ts';
import type { TokenOptions } from './sql-tokens.ts';
import { isSymbolAt, isWordAt, nameAt, type SqlWord, skipWords, sqlWords } from './sql-words.ts';

export type { StatementTarget } from './classify-ddl.ts';

export type StatementKind =
  /** CREATE, ALTER, DROP, RENAME of anything but accounts and temporary tables. */
  | 'ddl'
  | 'dml'
  | 'truncate'
  /** Reads only: SELECT, SHOW, EXPLAIN … (unless it calls a function that writes). */
  | 'select'
  /** SET of session variables without user variables: replayable on a new connection. */
  | 'set-session'
  | 'set-user-variable'
  | 'temporary-table'
  | 'lock-tables'
  | 'unlock-tables'
  | 'prepare'
  | 'execute'
  | 'deallocate'
  /** START TRANSACTION, BEGIN, COMMIT, ROLLBACK, SAVEPOINT, XA, SET TRANSACTION, SET autocommit. */
  | 'transaction'
  | 'use'
  | 'call'
  /** GRANT, REVOKE, users, roles, passwords. */
  | 'grant'
  | 'other';

export interface StatementClass extends SessionUse {
  readonly kind: StatementKind;
  /** The leading keywords, for messages: `ALTER TABLE`, `INSERT`. */
  readonly verb: string;
  /** The one object that the statement changes; absent when there is none, when there are several or when it is unclear. */
  readonly target?: StatementTarget;
  /** All objects that a DDL statement changes. */
  readonly targets: readonly StatementTarget[];
  /** Whether an open transaction may be committed by it; true when in doubt (CALL, EXECUTE, unknown statements). */
  readonly implicitCommit: boolean;
  /** Whether it reads what only this session has: user variables, LAST_INSERT_ID(), prepared statements … */
  readonly needsSessionState: boolean;
  /** Whether it sets a user variable, makes a temporary table, locks tables, prepares a statement or takes a named lock. */
  readonly makesSessionState: boolean;
  /** Whether it reaches beyond the schema (or might), so that running it in a copy of the schema is not safe. */
  readonly leavesSchema: boolean;
  /** What reaches beyond it: `USE`, `CALL`, `other.orders` … */
  readonly leaves: readonly string[];
}

const storedObjects = ['CREATE PROCEDURE', 'CREATE FUNCTION', 'CREATE TRIGGER', 'CREATE EVENT', 'ALTER EVENT'];
const dmlModifiers = ['LOW_PRIORITY', 'HIGH_PRIORITY', 'DELAYED', 'QUICK', 'IGNORE', 'INTO', 'FROM'];
const readVerbs = ['SELECT', 'SHOW', 'EXPLAIN', 'DESCRIBE', 'DESC', 'HELP', 'TABLE', 'VALUES', 'CHECKSUM'];
const maintenanceVerbs = ['ANALYZE', 'OPTIMIZE', 'REPAIR', 'CHECK'];

/** What the runner needs to know of one statement, whose text is as the splitter gives it. */
export function classifyStatement(text: string, options: TokenOptions = {}): StatementClass {
  const words = sqlWords(text, options);
  const verb = words.find((word) => word.kind === 'word')?.value ?? '';
  if (verb === 'SET') {
    const set = classifySet(words);
    if (set.kind === 'statement') return classifyStatement(text.slice(set.innerStart), options);
  }
  const draft = classifyVerb(verb, words);
  // The body of a stored object runs later, in other sessions.
  const use = sessionUse(storedObjects.includes(draft.verb) ? [] : words);
  const leaves = [...new Set([...(draft.leaves ?? []), ...qualifiedNames(words), ...leavingClauses(words)])];
  const target = draft.target ?? (draft.targets?.length === 1 ? draft.targets[0] : undefined);
  return {
    kind: draft.kind,
    verb: draft.verb,
    ...(target && { target }),
    targets: draft.targets ?? (target === undefined ? [] : [target]),
    implicitCommit: draft.implicitCommit ?? false,
    needsSessionState: draft.needsSessionState === true || use.variablesRead.length > 0 || use.readsPreviousResult,
    makesSessionState: draft.makesSessionState === true || use.variablesWritten.length > 0 || use.takesNamedLock,
    ...use,
    leavesSchema: leaves.length > 0,
    leaves,
  };
}

type Draft = Pick<StatementClass, 'kind' | 'verb'> & Partial<Omit<StatementClass, 'kind' | 'verb'>>;

function classifyVerb(verb: string, words: readonly SqlWord[]): Draft {
  if (verb === 'CREATE' || verb === 'ALTER' || verb === 'DROP' || verb === 'RENAME') return definition(verb, words);
  if (verb === 'SET') return setting(words);
  if (verb === 'WITH') return withTables(words);
  if (readVerbs.includes(verb)) return { kind: 'select', verb };
  if (['INSERT', 'REPLACE', 'UPDATE', 'DELETE', 'LOAD'].includes(verb)) return manipulation(verb, words);
  return transactionOrSession(verb, words) ?? administration(verb, words);
}

function definition(verb: string, words: readonly SqlWord[]): Draft {
  if (verb === 'DROP' && isWordAt(words, 1, 'PREPARE')) {
    return { kind: 'deallocate', verb: 'DROP PREPARE', needsSessionState: true };
  }
  const ddl = classifyDdl(words);
  if (ddl === undefined) return { kind: 'other', verb, implicitCommit: true };
  const { targets } = ddl;
  if (ddl.type === 'account') return { kind: 'grant', verb: ddl.verb, implicitCommit: true, leaves: [ddl.verb] };
  if (ddl.isTemporary) {
    return {
      kind: 'temporary-table',
      verb: ddl.verb,
      targets,
      makesSessionState: verb === 'CREATE',
      needsSessionState: verb !== 'CREATE',
    };
  }
  const leaves = targets.filter(({ schema }) => schema !== undefined).map(({ schema, name }) => `${schema}.${name}`);
  // An event would fire in the copy of the schema too.
  if (ddl.type === 'database' || ddl.type === 'other' || ddl.type === 'event') leaves.push(ddl.verb);
  return { kind: 'ddl', verb: ddl.verb, targets, implicitCommit: true, leaves };
}

function setting(words: readonly SqlWord[]): Draft {
  const { kind } = classifySet(words);
  switch (kind) {
    case 'global':
      return { kind: 'other', verb: 'SET GLOBAL', leaves: ['SET GLOBAL'] };
    case 'account':
      return { kind: 'grant', verb: 'SET PASSWORD', implicitCommit: true, leaves: ['SET PASSWORD'] };
    case 'user-variable':
      return { kind: 'set-user-variable', verb: 'SET', makesSessionState: true };
    case 'next-transaction':
      return { kind: 'transaction', verb: 'SET TRANSACTION' };
    case 'autocommit':
      return { kind: 'transaction', verb: 'SET autocommit', implicitCommit: true };
    case 'session':
    case 'statement':
      return { kind: 'set-session', verb: 'SET' };
    default:
      return kind satisfies never;
  }
}

// Behind the common table expressions stands the statement proper.
function withTables(words: readonly SqlWord[]): Draft {
  let depth = 0;
  for (let index = 1; index < words.length; index += 1) {
    if (isSymbolAt(words, index, '(')) depth += 1;
    else if (isSymbolAt(words, index, ')')) depth -= 1;
    else if (depth === 0 && isWordAt(words, index, 'UPDATE', 'DELETE', 'INSERT', 'REPLACE'))
      return { kind: 'dml', verb: 'WITH' };
    else if (depth === 0 && isWordAt(words, index, 'SELECT', 'TABLE', 'VALUES')) break;
  }
  return { kind: 'select', verb: 'WITH' };
}

function manipulation(verb: string, words: readonly SqlWord[]): Draft {
  if (verb === 'LOAD') {
    if (!isWordAt(words, 1, 'DATA', 'XML')) return { kind: 'other', verb, implicitCommit: true };
    const into = words.findIndex((_, index) => isWordAt(words, index, 'INTO') && isWordAt(words, index + 1, 'TABLE'));
    const isLocal = words.slice(0, into).some((word) => word.value === 'LOCAL');
    return {
      kind: 'dml',
      verb: 'LOAD DATA',
      ...dmlTarget(words, into + 2),
      leaves: isLocal ? [] : ['LOAD DATA from a file of the server'],
    };
  }
  const start = skipWords(words, 1, ...dmlModifiers);
  if (verb === 'UPDATE' || verb === 'DELETE') {
    const isSingle =
      verb === 'UPDATE'
        ? !joinsBeforeSet(words, start)
        : isWordAt(words, start - 1, 'FROM') && !isWordAt(words, start + 1, 'USING');
    return { kind: 'dml', verb, ...(isSingle ? dmlTarget(words, start) : {}) };
  }
  return { kind: 'dml', verb, ...dmlTarget(words, start) };
}

function dmlTarget(words: readonly SqlWord[], index: number): { target?: StatementTarget } {
  const name = nameAt(words, index);
  // A list of tables changes several.
  if (name === undefined || isSymbolAt(words, name.next, ',')) return {};
  return { target: { type: 'table', ...name.object } };
}

function joinsBeforeSet(words: readonly SqlWord[], start: number): boolean {
  for (let index = start; index < words.length && !isWordAt(words, index, 'SET'); index += 1) {
    if (isSymbolAt(words, index, ',') || isWordAt(words, index, 'JOIN', 'STRAIGHT_JOIN')) return true;
  }
  return false;
}

function transactionOrSession(verb: string, words: readonly SqlWord[]): Draft | undefined {
  switch (verb) {
    case 'START':
      return isWordAt(words, 1, 'TRANSACTION')
        ? { kind: 'transaction', verb: 'START TRANSACTION', implicitCommit: true }
        : undefined;
    case 'BEGIN':
      return isWordAt(words, 1, 'NOT') ? undefined : { kind: 'transaction', verb, implicitCommit: true };
    case 'COMMIT':
      return { kind: 'transaction', verb, implicitCommit: true };
    case 'ROLLBACK':
      return { kind: 'transaction', verb, implicitCommit: !words.some((_, index) => isWordAt(words, index, 'TO')) };
    case 'SAVEPOINT':
    case 'RELEASE':
      return { kind: 'transaction', verb };
    case 'XA':
      return { kind: 'transaction', verb, implicitCommit: true };
    case 'LOCK':
      return isWordAt(words, 1, 'TABLE', 'TABLES')
        ? { kind: 'lock-tables', verb: 'LOCK TABLES', implicitCommit: true, makesSessionState: true }
        : undefined;
    case 'UNLOCK':
      return isWordAt(words, 1, 'TABLE', 'TABLES')
        ? { kind: 'unlock-tables', verb: 'UNLOCK TABLES', implicitCommit: true }
        : undefined;
    case 'PREPARE':
      return { kind: 'prepare', verb, makesSessionState: true };
    case 'EXECUTE':
      // What a prepared statement does is not known from here; MariaDB's EXECUTE IMMEDIATE needs no earlier PREPARE.
      return {
        kind: 'execute',
        verb,
        implicitCommit: true,
        needsSessionState: !isWordAt(words, 1, 'IMMEDIATE'),
        leaves: [verb],
      };
    case 'DEALLOCATE':
      return { kind: 'deallocate', verb, needsSessionState: true };
    default:
      return undefined;
  }
}

function administration(verb: string, words: readonly SqlWord[]): Draft {
  if (verb === 'USE') return { kind: 'use', verb, leaves: [verb] };
  if (verb === 'CALL') return { kind: 'call', verb, implicitCommit: true, leaves: [verb] };
  if (verb === 'GRANT' || verb === 'REVOKE') return { kind: 'grant', verb, implicitCommit: true, leaves: [verb] };
  if (verb === 'TRUNCATE') {
    return { kind: 'truncate', verb, implicitCommit: true, ...dmlTarget(words, skipWords(words, 1, 'TABLE')) };
  }
  if (maintenanceVerbs.includes(verb)) {
    const table = words.findIndex((_, index) => isWordAt(words, index, 'TABLE', 'TABLES'));
    return { kind: 'other', verb, implicitCommit: true, ...(table === -1 ? {} : dmlTarget(words, table + 1)) };
  }
  if (verb === 'DO') return { kind: 'other', verb };
  if (verb === 'HANDLER') return { kind: 'other', verb, needsSessionState: true, makesSessionState: true };
  // Blocks outside programs may do anything; so may what is not known.
  const isBlock = ['BEGIN', 'IF', 'CASE', 'LOOP', 'WHILE', 'REPEAT', 'FOR'].includes(verb);
  return { kind: 'other', verb, implicitCommit: true, leaves: isBlock ? [] : [verb] };
}

function leavingClauses(words: readonly SqlWord[]): string[] {
  const found = words.findIndex(
    (_, index) => isWordAt(words, index, 'INTO') && isWordAt(words, index + 1, 'OUTFILE', 'DUMPFILE'),
  );
  return found === -1 ? [] : ['INTO OUTFILE'];
}
