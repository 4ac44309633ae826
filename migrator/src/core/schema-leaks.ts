import { isSymbolAt, isWordAt, nameAt, type SqlWord, skipWords } from './sql-words.ts';

const introducers = new Set([
  'FROM',
  'JOIN',
  'STRAIGHT_JOIN',
  'INTO',
  'UPDATE',
  'DELETE',
  'TABLE',
  'TABLES',
  'REFERENCES',
]);
const modifiers = [
  'IF',
  'NOT',
  'EXISTS',
  'ONLY',
  'IGNORE',
  'LOW_PRIORITY',
  'HIGH_PRIORITY',
  'DELAYED',
  'QUICK',
  'FROM',
  'LATERAL',
];
// These words end a list of tables, so that the commas behind them separate something else.
const listEnds = new Set([
  'WHERE',
  'SET',
  'VALUES',
  'VALUE',
  'SELECT',
  'GROUP',
  'ORDER',
  'HAVING',
  'LIMIT',
  'WINDOW',
  'RETURNING',
]);
const functionsWithFrom = new Set(['EXTRACT', 'TRIM', 'SUBSTRING', 'SUBSTR', 'MID', 'OVERLAY']);

/**
 * The names with a schema in a statement (`other.orders`, `other.f()`, `other.orders.id`), as far as they can be told from
 * `alias.column` without knowing the tables: by the keyword before a list of tables, a bracket behind a function, or three parts.
 */
export function qualifiedNames(words: readonly SqlWord[]): string[] {
  const found = new Set<string>();
  const listDepths = new Set<number>();
  const openers: (SqlWord | undefined)[] = [];
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index];
    if (word === undefined) break;
    if (isSymbolAt(words, index, '(')) {
      openers.push(words[index - 1]);
      // Brackets right behind FROM or a comma hold a list of tables, unless SELECT follows and ends that.
      if (listDepths.has(openers.length - 1) && opensList(words, index)) listDepths.add(openers.length);
    }
    if (isSymbolAt(words, index, ')')) {
      listDepths.delete(openers.length);
      openers.pop();
    } else if (isSymbolAt(words, index, ';')) listDepths.delete(openers.length);
    const depth = openers.length;
    if (word.kind === 'word' && endsList(words, index)) listDepths.delete(depth);
    const introduces = introducesTables(words, index, openers.at(-1));
    if (introduces) listDepths.add(depth);
    if (introduces || (isSymbolAt(words, index, ',') && listDepths.has(depth))) {
      addQualified(words, skipBrackets(words, skipWords(words, index + 1, ...modifiers)), found);
    }
    addFunctionOrColumn(words, index, found);
  }
  return [...found];
}

function introducesTables(words: readonly SqlWord[], index: number, opener: SqlWord | undefined): boolean {
  const word = words[index];
  if (word === undefined || word.kind !== 'word' || isSymbolAt(words, index - 1, '.')) return false;
  if (word.value === 'FROM' && opener !== undefined && functionsWithFrom.has(opener.value)) return false;
  if (word.value === 'UPDATE' || word.value === 'DELETE')
    return !isWordAt(words, index - 1, 'KEY', 'ON', 'FOR', 'BEFORE', 'AFTER');
  if (introducers.has(word.value)) return true;
  if (word.value === 'ON') return isWordAt(words, 0, 'CREATE', 'DROP') && isIndexOrTriggerTarget(words, index);
  if (word.value === 'TO' || word.value === 'LIKE') return isRenameOrLike(words, index);
  return false;
}

function isIndexOrTriggerTarget(words: readonly SqlWord[], index: number): boolean {
  if (isWordAt(words, index - 1, 'INSERT', 'UPDATE', 'DELETE')) return true;
  return words.slice(0, 5).some((word) => word.kind === 'word' && word.value === 'INDEX');
}

function isRenameOrLike(words: readonly SqlWord[], index: number): boolean {
  if (isWordAt(words, index, 'TO')) return isWordAt(words, 0, 'RENAME') || isWordAt(words, index - 1, 'RENAME');
  return isWordAt(words, 0, 'CREATE') && words.slice(0, index).every((word) => word.value !== 'SELECT');
}

function endsList(words: readonly SqlWord[], index: number): boolean {
  return (
    listEnds.has(words[index]?.value ?? '') || (isWordAt(words, index, 'UPDATE') && isWordAt(words, index - 1, 'KEY'))
  );
}

function opensList(words: readonly SqlWord[], index: number): boolean {
  return (
    isSymbolAt(words, index - 1, ',') || isWordAt(words, index - 1, 'FROM', 'JOIN', 'STRAIGHT_JOIN', 'UPDATE', 'TABLES')
  );
}

function skipBrackets(words: readonly SqlWord[], index: number): number {
  let next = index;
  while (isSymbolAt(words, next, '(')) next += 1;
  return next;
}

function addQualified(words: readonly SqlWord[], index: number, found: Set<string>): void {
  const name = nameAt(words, index)?.object;
  if (name?.schema !== undefined && !isNumber(words[index])) found.add(`${name.schema}.${name.name}`);
}

function addFunctionOrColumn(words: readonly SqlWord[], index: number, found: Set<string>): void {
  if (isSymbolAt(words, index - 1, '.') || isSymbolAt(words, index - 1, '@') || isNumber(words[index])) return;
  const name = nameAt(words, index);
  if (name?.object.schema === undefined) return;
  const isThreeParts = isSymbolAt(words, name.next, '.') && nameAt(words, name.next + 1) !== undefined;
  if (isThreeParts || isSymbolAt(words, name.next, '(')) addQualified(words, index, found);
}

function isNumber(word: SqlWord | undefined): boolean {
  return word?.kind === 'word' && /^\d+(?:E\d*)?$/.test(word.value);
}
