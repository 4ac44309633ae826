import { isSymbolAt, isUserVariableAt, isWordAt, type SqlWord } from './sql-words.ts';

/** What a SET statement does; `statement` is MariaDB's SET STATEMENT … FOR, with the offset where the inner one starts. */
export type SetKind =
  | { readonly kind: 'session' | 'user-variable' | 'global' | 'account' | 'next-transaction' | 'autocommit' }
  | { readonly kind: 'statement'; readonly innerStart: number };

const globalScopes = ['GLOBAL', 'PERSIST', 'PERSIST_ONLY'];

/** Tells the SET statements apart whose words are given. */
export function classifySet(words: readonly SqlWord[]): SetKind {
  if (isWordAt(words, 1, 'PASSWORD') || isWordAt(words, 1, 'DEFAULT')) return { kind: 'account' };
  if (isWordAt(words, 1, 'STATEMENT')) return setStatement(words);
  if (isWordAt(words, 1, 'TRANSACTION')) return { kind: 'next-transaction' };
  const kinds = new Set(assignmentStarts(words).map((index) => assignmentKind(words, index)));
  for (const kind of ['global', 'user-variable', 'autocommit'] as const) {
    if (kinds.has(kind)) return { kind };
  }
  return { kind: 'session' };
}

/** Indexes of the user variables that a SET statement assigns, which are no uses of them. */
export function assignedVariables(words: readonly SqlWord[]): Set<number> {
  return new Set(assignmentStarts(words).filter((index) => isUserVariableAt(words, index)));
}

function setStatement(words: readonly SqlWord[]): SetKind {
  const inner = words.findIndex((_, index) => isWordAt(words, index, 'FOR'));
  const start = words[inner + 1]?.start;
  return inner === -1 || start === undefined ? { kind: 'session' } : { kind: 'statement', innerStart: start };
}

function assignmentStarts(words: readonly SqlWord[]): number[] {
  const starts = [1];
  let depth = 0;
  for (let index = 1; index < words.length; index += 1) {
    if (isSymbolAt(words, index, '(')) depth += 1;
    else if (isSymbolAt(words, index, ')')) depth -= 1;
    else if (depth === 0 && isSymbolAt(words, index, ',')) starts.push(index + 1);
  }
  return starts;
}

function assignmentKind(
  words: readonly SqlWord[],
  start: number,
): 'global' | 'user-variable' | 'autocommit' | 'session' {
  if (isUserVariableAt(words, start)) return 'user-variable';
  let index = start;
  while (isSymbolAt(words, index, '@')) index += 1;
  if (isWordAt(words, index, ...globalScopes)) return 'global';
  if (isWordAt(words, index, 'SESSION', 'LOCAL')) index += 1;
  if (isSymbolAt(words, index, '.')) index += 1;
  while (isSymbolAt(words, index, '@')) index += 1;
  return words[index]?.raw.toUpperCase() === 'AUTOCOMMIT' ? 'autocommit' : 'session';
}
