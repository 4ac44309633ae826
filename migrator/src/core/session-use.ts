import { assignedVariables } from './classify-set.ts';
import { isSymbolAt, isUserVariableAt, isWordAt, type SqlWord } from './sql-words.ts';

/** What a statement shares with earlier and later statements of its session. */
export interface SessionUse {
  /** User variables that it reads, in lower case, without `@`. */
  readonly variablesRead: readonly string[];
  readonly variablesWritten: readonly string[];
  /** Functions or system variables that tell of the statement before: LAST_INSERT_ID(), ROW_COUNT() … */
  readonly readsPreviousResult: boolean;
  readonly takesNamedLock: boolean;
}

const previousResults = ['LAST_INSERT_ID', 'ROW_COUNT', 'FOUND_ROWS', 'LASTVAL'];

export function sessionUse(words: readonly SqlWord[]): SessionUse {
  const assigned = isWordAt(words, 0, 'SET') ? assignedVariables(words) : new Set<number>();
  const read = new Set<string>();
  const written = new Set<string>();
  words.forEach((_, index) => {
    if (!isUserVariableAt(words, index)) return;
    const name = (words[index + 1]?.raw ?? '').toLowerCase();
    const isWritten = assigned.has(index) || isAssigned(words, index) || isIntoVariable(words, index);
    (isWritten ? written : read).add(name);
  });
  return {
    variablesRead: [...read],
    variablesWritten: [...written],
    readsPreviousResult: words.some((_, index) => readsPreviousResult(words, index)),
    takesNamedLock: words.some((_, index) => isWordAt(words, index, 'GET_LOCK') && isSymbolAt(words, index + 1, '(')),
  };
}

function readsPreviousResult(words: readonly SqlWord[], index: number): boolean {
  if (isWordAt(words, index, ...previousResults) && isSymbolAt(words, index + 1, '(')) return true;
  return isWordAt(words, index, 'LAST_INSERT_ID', 'IDENTITY') && isSymbolAt(words, index - 1, '@');
}

function isAssigned(words: readonly SqlWord[], index: number): boolean {
  return isSymbolAt(words, index + 2, ':') && isSymbolAt(words, index + 3, '=');
}

// `SELECT … INTO @a, @b` fills variables; so does `LOAD DATA … (a, @b)`, whose list of columns is the only place for `(@b,`.
function isIntoVariable(words: readonly SqlWord[], index: number): boolean {
  let first = index;
  while (isSymbolAt(words, first - 1, ',') && isUserVariableAt(words, first - 3)) first -= 3;
  return isWordAt(words, first - 1, 'INTO') || (isWordAt(words, 0, 'LOAD') && isInColumnList(words, index));
}

function isInColumnList(words: readonly SqlWord[], index: number): boolean {
  const set = words.findIndex((_, at) => isWordAt(words, at, 'SET') && !isWordAt(words, at - 1, 'CHARACTER'));
  return set === -1 || index < set;
}
