import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import { isSymbolAt, isWordAt, nameAt, type SqlWord, sqlWords } from './core/sql-words.ts';
import { normaliseDefinition } from './objects.ts';
import type { DatabaseObject } from './step.ts';

/** The one table or view that a replay makes and drops again; one that a kill left behind goes with the next. */
export const copyName = 'tableset_replay';

/**
 * Runs a statement that makes or changes one table or view on an empty copy of it, beside it in the schema, and says whether the copy
 * then is as the real table is now. The copy's constraints are renamed, because a schema has each name once.
 * @param object the table or view
 * @param before its definition before the statement, null if the statement makes it
 * @param now its definition as it is now
 * @returns null if the statement cannot be turned to the copy
 */
export async function matchesOnCopy(
  connection: Connection,
  statement: string,
  object: DatabaseObject,
  before: string | null,
  now: string,
): Promise<boolean | null> {
  const kind = object.kind === 'view' ? 'VIEW' : 'TABLE';
  const turned = onCopy(statement, object.name, kind);
  const old = before === null ? null : onCopy(before, object.name, kind);
  if (turned === null || (before !== null && old === null)) return null;
  const copy = quoteIdentifier(copyName);
  const drop = `DROP ${kind} IF EXISTS ${copy}`;
  await connection.run(drop);
  await connection.run('SET SESSION foreign_key_checks=0');
  try {
    if (old !== null) await connection.run(old);
    await connection.run(turned);
    const row = await connection.row(`SHOW CREATE ${kind} ${copy}`);
    const shown = normaliseDefinition(String(row?.[kind === 'VIEW' ? 'Create View' : 'Create Table'] ?? ''));
    return sameLines(onOriginal(shown, object.name), now);
  } finally {
    // The first error counts; a lost connection leaves the copy to the next replay.
    if (!connection.lost) {
      await connection.run(drop);
      await connection.run('SET SESSION foreign_key_checks=1');
    }
  }
}

const constraintPrefix = `${copyName}__`;

/** The statement with the copy's name for the object's, and its constraints renamed; null if the object's name is not found. */
export function onCopy(statement: string, table: string, kind: 'TABLE' | 'VIEW'): string | null {
  const words = sqlWords(statement);
  const at = kind === 'VIEW' ? viewIndex(words) : tableIndex(words);
  const name = at === null ? undefined : nameAt(words, at);
  if (at === null || name === undefined || name.object.schema !== undefined || name.object.name !== table) return null;
  const changes = new Map<number, string>([[at, quoteIdentifier(copyName)]]);
  words.forEach((word, index) => {
    if (word.kind !== 'word' && word.kind !== 'name') return;
    const isConstraint = isWordAt(words, index - 1, 'CONSTRAINT') || isDroppedKey(words, index);
    if (isConstraint && !isConstraintKind(word)) changes.set(index, quoteIdentifier(`${constraintPrefix}${word.raw}`));
  });
  let text = '';
  let position = 0;
  for (const [index, replacement] of [...changes].sort(([a], [b]) => a - b)) {
    const word = words[index];
    if (word === undefined) continue;
    text += statement.slice(position, word.start) + replacement;
    position = word.end;
  }
  return text + statement.slice(position);
}

function isDroppedKey(words: readonly SqlWord[], index: number): boolean {
  return (
    isWordAt(words, index - 3, 'DROP') && isWordAt(words, index - 2, 'FOREIGN') && isWordAt(words, index - 1, 'KEY')
  );
}

/** `CONSTRAINT` may stand without a name. */
function isConstraintKind(word: SqlWord): boolean {
  return word.kind === 'word' && ['FOREIGN', 'PRIMARY', 'UNIQUE', 'CHECK', 'IF'].includes(word.value);
}

function viewIndex(words: readonly SqlWord[]): number | null {
  const view = words.findIndex((_, index) => isWordAt(words, index, 'VIEW'));
  if (view === -1) return null;
  let at = view + 1;
  while (isWordAt(words, at, 'IF', 'NOT', 'EXISTS')) at += 1;
  return at;
}

/** Where the table's name stands: behind TABLE, or behind the ON of an index. */
function tableIndex(words: readonly SqlWord[]): number | null {
  const table = words.findIndex((_, index) => isWordAt(words, index, 'TABLE'));
  const index = words.findIndex((_, at) => isWordAt(words, at, 'INDEX'));
  const isIndex = index !== -1 && (table === -1 || index < table);
  if (isIndex) {
    const on = words.findIndex((_, at) => at > index && isWordAt(words, at, 'ON'));
    return on === -1 ? null : on + 1;
  }
  if (table === -1 || words.slice(0, table).some((_, at) => isSymbolAt(words, at, '('))) return null;
  let at = table + 1;
  while (isWordAt(words, at, 'IF', 'NOT', 'EXISTS')) at += 1;
  return at;
}

function onOriginal(definition: string, table: string): string {
  return definition.replaceAll(constraintPrefix, '').replaceAll(copyName, table.replaceAll('`', '``'));
}

/** The servers list constraints by name, and the copy's have other names. */
function sameLines(a: string, b: string): boolean {
  const lines = (text: string) =>
    text
      .split('\n')
      .map((line) => line.replace(/,$/, ''))
      .sort()
      .join('\n');
  return lines(a) === lines(b);
}
