import { isSymbolAt, isWordAt, nameAt, type ObjectName, type SqlWord, skipWords } from './sql-words.ts';

export type DdlObjectType =
  | 'table'
  | 'view'
  | 'procedure'
  | 'function'
  | 'trigger'
  | 'event'
  | 'sequence'
  | 'package'
  | 'database'
  | 'account'
  | 'other';

/** The object that a statement changes. */
export interface StatementTarget extends ObjectName {
  readonly type: DdlObjectType;
  /** Its name afterwards, when the statement renames it. */
  readonly renamedTo?: ObjectName;
}

export interface DdlClass {
  readonly type: DdlObjectType;
  /** For example `CREATE TABLE`, `DROP INDEX`. */
  readonly verb: string;
  readonly isTemporary: boolean;
  /** The objects that the statement changes; of an index, its table. */
  readonly targets: readonly StatementTarget[];
}

const objectTypes: Readonly<Partial<Record<string, DdlObjectType>>> = {
  TABLE: 'table',
  TABLES: 'table',
  INDEX: 'table',
  VIEW: 'view',
  PROCEDURE: 'procedure',
  FUNCTION: 'function',
  TRIGGER: 'trigger',
  EVENT: 'event',
  SEQUENCE: 'sequence',
  PACKAGE: 'package',
  DATABASE: 'database',
  SCHEMA: 'database',
  USER: 'account',
  ROLE: 'account',
  SERVER: 'other',
  TABLESPACE: 'other',
  LOGFILE: 'other',
  INSTANCE: 'other',
  RESOURCE: 'other',
  REFERENCE: 'other',
  LIBRARY: 'other',
};

/** Reads CREATE, ALTER, DROP and RENAME; undefined when no kind of object is named. */
export function classifyDdl(words: readonly SqlWord[]): DdlClass | undefined {
  const at = objectTypeIndex(words);
  const type = objectTypes[words[at]?.value ?? ''];
  if (at === -1 || type === undefined) return undefined;
  const verb = `${words[0]?.value} ${words[at]?.value}`;
  const isTemporary = words.slice(0, at).some((_, index) => isWordAt(words, index, 'TEMPORARY'));
  return { type, verb, isTemporary, targets: targetsAt(words, at, type, verb) };
}

// The words between CREATE and the kind of object (OR REPLACE, UNIQUE, ALGORITHM = …) vary; an account may stand among them.
function objectTypeIndex(words: readonly SqlWord[]): number {
  return words.findIndex((word, index) => {
    if (index === 0 || index > 24 || word.kind !== 'word' || objectTypes[word.value] === undefined) return false;
    return !isSymbolAt(words, index - 1, '=') && !isSymbolAt(words, index - 1, '@');
  });
}

function targetsAt(words: readonly SqlWord[], at: number, type: DdlObjectType, verb: string): StatementTarget[] {
  if (type === 'account' || type === 'other') return [];
  if (isWordAt(words, at, 'INDEX')) return indexTable(words, at);
  const start = skipWords(words, at + 1, 'IF', 'NOT', 'EXISTS', 'BODY');
  const first = nameAt(words, start);
  if (first === undefined) return [];
  if (verb.startsWith('DROP') || verb.startsWith('RENAME')) return listedTargets(words, start, type);
  const renamedTo = verb.startsWith('ALTER') ? renameClause(words, first.next) : undefined;
  return [{ type, ...first.object, ...(renamedTo && { renamedTo }) }];
}

function indexTable(words: readonly SqlWord[], at: number): StatementTarget[] {
  const on = words.findIndex((_, index) => index > at && isWordAt(words, index, 'ON'));
  const table = on === -1 ? undefined : nameAt(words, on + 1);
  return table === undefined ? [] : [{ type: 'table', ...table.object }];
}

function listedTargets(words: readonly SqlWord[], start: number, type: DdlObjectType): StatementTarget[] {
  const targets: StatementTarget[] = [];
  for (let index = start; index < words.length; ) {
    const name = nameAt(words, index);
    if (name === undefined) break;
    const isRenamed = isWordAt(words, skipWait(words, name.next), 'TO');
    const renamed = isRenamed ? nameAt(words, skipWait(words, name.next) + 1) : undefined;
    targets.push({ type, ...name.object, ...(renamed && { renamedTo: renamed.object }) });
    const next = renamed?.next ?? name.next;
    if (!isSymbolAt(words, next, ',')) break;
    index = next + 1;
  }
  return targets;
}

// MariaDB's `RENAME TABLE t WAIT 5 TO u` and `NOWAIT`.
function skipWait(words: readonly SqlWord[], index: number): number {
  if (isWordAt(words, index, 'WAIT')) return index + 2;
  return isWordAt(words, index, 'NOWAIT') ? index + 1 : index;
}

function renameClause(words: readonly SqlWord[], from: number): ObjectName | undefined {
  let depth = 0;
  for (let index = from; index < words.length; index += 1) {
    if (isSymbolAt(words, index, '(')) depth += 1;
    else if (isSymbolAt(words, index, ')')) depth -= 1;
    else if (depth === 0 && isWordAt(words, index, 'RENAME') && !isWordAt(words, index + 1, 'COLUMN', 'INDEX', 'KEY')) {
      const isMarked = isWordAt(words, index + 1, 'TO', 'AS') || isSymbolAt(words, index + 1, '=');
      return nameAt(words, isMarked ? index + 2 : index + 1)?.object;
    }
  }
  return undefined;
}
