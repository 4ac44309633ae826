import { createHash } from 'node:crypto';
import { classifyStatement, type StatementClass, type StatementTarget } from './core/classify-statement.ts';
import type { Statement } from './core/split-statements.ts';

/** What running a statement does to transactions and to the journal. */
export type Effect =
  /** Changes rows, this session or nothing: whatever it does to rows, ROLLBACK undoes. */
  | 'transactional'
  | 'begin'
  | 'commit'
  | 'rollback'
  /** SET that changes or reads autocommit. */
  | 'autocommit'
  | 'lock-tables'
  | 'unlock-tables'
  /** One atomic definition of objects that can be shown, with an implicit commit before it. */
  | 'definition'
  /** Everything else: CALL, EXECUTE, TRUNCATE, accounts … What it did cannot be seen afterwards. */
  | 'opaque';

/** A table, view, routine, trigger, event or sequence that a definition changes. */
export interface DatabaseObject {
  readonly kind: ShownKind;
  /** Null for the default schema. */
  readonly schema: string | null;
  readonly name: string;
}

export type ShownKind = 'table' | 'view' | 'procedure' | 'function' | 'trigger' | 'event' | 'sequence';

/** A statement with what the runner must know of it. */
export interface Step {
  /** Place in the file, from 1. */
  readonly number: number;
  /** Line of the file on which it starts. */
  readonly line: number;
  readonly text: string;
  /** SHA-256 of the text, line endings normalised. */
  readonly checksum: string;
  readonly class: StatementClass;
  readonly effect: Effect;
  /** The objects that a definition changes, the new names of a RENAME included. */
  readonly objects: readonly DatabaseObject[];
  /** Running it again after it took effect changes nothing. */
  readonly repeatable: boolean;
}

const shownKinds: ReadonlySet<string> = new Set<ShownKind>([
  'table',
  'view',
  'procedure',
  'function',
  'trigger',
  'event',
  'sequence',
]);

/** ALTER TABLE clauses whose effect SHOW CREATE TABLE does not show, so that nobody could tell whether they ran. */
const unseenClause = /\b(EXCHANGE|TRUNCATE)\s+PARTITION\b|\b(DISCARD|IMPORT)\s+(PARTITION\b[^;]*)?TABLESPACE\b/i;

const repeatableVerbs: ReadonlySet<string> = new Set(['ANALYZE', 'OPTIMIZE', 'REPAIR', 'CHECK', 'GRANT', 'FLUSH']);

/** Adds to a statement what the runner must know of it. */
export function stepOf(statement: Statement): Step {
  const facts = classifyStatement(statement.text);
  const objects = shownObjects(facts.targets);
  return {
    number: statement.index + 1,
    line: statement.line,
    text: statement.text,
    checksum: createHash('sha256').update(statement.text.replaceAll('\r\n', '\n')).digest('hex'),
    class: facts,
    effect: effectOf(facts, statement.text, objects),
    objects: objects ?? [],
    repeatable:
      repeatableVerbs.has(facts.verb) ||
      (facts.kind === 'ddl' && facts.verb !== 'CREATE TABLE' && /^CREATE\s+OR\s+REPLACE\b/i.test(statement.text)),
  };
}

/** The objects with the names that they are renamed to; null if one of them cannot be shown. */
function shownObjects(targets: readonly StatementTarget[]): readonly DatabaseObject[] | null {
  const objects: DatabaseObject[] = [];
  for (const target of targets) {
    if (!shownKinds.has(target.type)) return null;
    // The set holds exactly the members of ShownKind.
    const kind = target.type as ShownKind;
    for (const name of target.renamedTo ? [target, target.renamedTo] : [target]) {
      objects.push({ kind, schema: name.schema ?? null, name: name.name });
    }
  }
  return objects;
}

function effectOf(facts: StatementClass, text: string, objects: readonly DatabaseObject[] | null): Effect {
  switch (facts.kind) {
    case 'select':
    case 'dml':
    case 'set-session':
    case 'set-user-variable':
      // Also where it is only read: the file must not see the runner's own value.
      return /\bautocommit\b/i.test(text) ? 'autocommit' : 'transactional';
    case 'temporary-table':
    case 'prepare':
    case 'deallocate':
    case 'use':
      return 'transactional';
    case 'lock-tables':
    case 'unlock-tables':
      return facts.kind;
    case 'ddl':
      return objects === null || objects.length === 0 || isUnseen(text, objects) ? 'opaque' : 'definition';
    case 'transaction':
      return transactionEffect(facts);
    case 'truncate':
    case 'execute':
    case 'call':
    case 'grant':
    case 'other':
      return 'opaque';
    default:
      return facts.kind satisfies never;
  }
}

/** Tables of one structure can swap their names, and nobody could tell. */
function isUnseen(text: string, objects: readonly DatabaseObject[]): boolean {
  const names = new Set(objects.map((object) => `${object.schema ?? ''}.${object.name}`));
  return unseenClause.test(text) || (/^RENAME\b/i.test(text) && names.size < objects.length);
}

function transactionEffect(facts: StatementClass): Effect {
  switch (facts.verb) {
    case 'START TRANSACTION':
    case 'BEGIN':
      return 'begin';
    case 'COMMIT':
      return 'commit';
    case 'ROLLBACK':
      return facts.implicitCommit ? 'rollback' : 'transactional';
    case 'SET autocommit':
      return 'autocommit';
    case 'XA':
      return 'opaque';
    default:
      return 'transactional';
  }
}
