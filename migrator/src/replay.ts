import type { Connection } from '@tableset/common/database/connection.ts';
import { serverErrno } from '@tableset/common/database/errno.ts';
import { type SqlWord, sqlWords } from './core/sql-words.ts';
import { objectKey, type Snapshot, sameSnapshot, snapshotObjects } from './objects.ts';
import { matchesOnCopy } from './replay-copy.ts';
import { inScratchSchema } from './scratch.ts';
import type { DatabaseObject, Step } from './step.ts';

/**
 * Whether the objects are now exactly as the statement makes them of what they were before. Tables are proved by running the
 * statement on an empty copy of the old definition, stored programs by their text. False whenever that cannot be proved.
 */
export async function tookEffect(
  connection: Connection,
  step: Step,
  before: Snapshot,
  now: Snapshot,
): Promise<boolean> {
  const { verb } = step.class;
  if (verb.startsWith('DROP ') && verb !== 'DROP INDEX') return Object.values(now).every((value) => value === null);
  if (verb === 'RENAME TABLE') return isRenamed(step, before, now);
  const [object] = step.objects;
  if (object === undefined) return false;
  if (['procedure', 'function', 'trigger', 'event'].includes(object.kind)) {
    const definition = now[objectKey(object)];
    return verb.startsWith('CREATE ') && typeof definition === 'string' && sameProgram(step.text, definition);
  }
  // A qualified name would reach the real table from the copy; a query's rows are not there to be compared.
  if (step.class.leavesSchema || readsRows(step)) return false;
  try {
    return (
      (await replayedOnCopy(connection, step, before, now)) ??
      (await inScratchSchema(connection, () => replayed(connection, step, before, now))) ??
      false
    );
  } catch (error) {
    // The server refuses the copy or the statement on it: then nothing is proved.
    if (serverErrno(error) !== null && !connection.lost) return false;
    throw error;
  }
}

function readsRows(step: Step): boolean {
  return step.class.verb === 'CREATE TABLE' && sqlWords(step.text).some((word) => word.value === 'SELECT');
}

async function replayedOnCopy(
  connection: Connection,
  step: Step,
  before: Snapshot,
  now: Snapshot,
): Promise<boolean | null> {
  const [object, another] = step.objects;
  if (object === undefined || another !== undefined || (object.kind !== 'table' && object.kind !== 'view')) return null;
  const key = objectKey(object);
  const definition = now[key] ?? null;
  if (definition === null) return false;
  return await matchesOnCopy(connection, step.text, object, before[key] ?? null, definition);
}

/** In a schema of its own the names, constraints and partitions are the very same. */
async function replayed(connection: Connection, step: Step, before: Snapshot, now: Snapshot): Promise<boolean> {
  for (const definition of new Set(Object.values(before))) {
    if (definition !== null) await connection.run(definition);
  }
  await connection.run(step.text);
  const result = await snapshotObjects(connection, step.objects);
  return result !== null && sameSnapshot(result, now);
}

/** One table under a new name, its definition otherwise the same. */
function isRenamed(step: Step, before: Snapshot, now: Snapshot): boolean {
  const [from, to, more] = step.objects;
  if (from === undefined || to === undefined || more !== undefined) return false;
  const was = before[objectKey(from)] ?? null;
  const is = now[objectKey(to)] ?? null;
  if (was === null || is === null || now[objectKey(from)] !== null) return false;
  return withoutName(was, from) === withoutName(is, to);
}

/** Foreign keys without a name of their own are named after the table. */
function withoutName(definition: string, object: DatabaseObject): string {
  return definition
    .replace(/^(CREATE TABLE )`(?:[^`]|``)+`/, '$1')
    .replaceAll(`CONSTRAINT \`${object.name}_ibfk_`, 'CONSTRAINT `_ibfk_');
}

/** Whether a stored program's definition, which names its definer, is that of the statement. */
function sameProgram(text: string, definition: string): boolean {
  const a = programWords(text);
  const b = programWords(definition);
  return a.length === b.length && a.every((word, index) => word === b[index]);
}

function programWords(text: string): readonly string[] {
  const words = sqlWords(text);
  const definer = words.findIndex((word) => word.kind === 'word' && word.value === 'DEFINER');
  const kept =
    definer === -1 || definer > 6 ? words : [...words.slice(0, definer), ...words.slice(definerEnd(words, definer))];
  return kept.map((word) =>
    word.kind === 'word' ? word.value : word.kind === 'name' ? word.raw.toUpperCase() : word.value,
  );
}

/** Behind `DEFINER = user @ host`, where the host may be left out. */
function definerEnd(words: readonly SqlWord[], definer: number): number {
  const at = definer + 3;
  return words[at]?.value === '@' ? at + 2 : at;
}
