import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type AppError, commonError } from '@tableset/common/errors.ts';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
} from 'yaml';
import { type ArchiveConfig, standardLimits } from './archive-config.ts';
import {
  type Complaint,
  type LoadConfig,
  type LoadTable,
  loadTable,
  resolvedSections,
  sectionComplaints,
} from './load-config.ts';
import { loadEntrySchema } from './load-schema.ts';
import { complaintsOf, valueAt } from './problems.ts';
import { loadConfigSchema } from './schema.ts';

/** One fault of the file and where it stands, counted from 1. */
export interface Problem {
  readonly line: number;
  readonly column: number;
  /** `load[0].key`, or empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** Kubernetes cuts ConfigMaps off at 1 MiB; a file far larger is not a configuration. */
const fileBytesMax = 4 * 1024 * 1024;
const problemsMax = 50;
const aliasesMax = 100;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads and checks the configuration file.
 * @param env that passwords of stores may be read from, when they are first needed
 * @throws AppError CONFIG_UNREADABLE, or CONFIG_INVALID naming every fault with its position.
 */
export async function readConfig(path: string, env: Environment = process.env): Promise<LoadConfig> {
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw commonError('CONFIG_UNREADABLE', `the configuration ${path} cannot be read (${code})`, { cause });
  }
  if (content.length > fileBytesMax) {
    throw commonError(
      'CONFIG_INVALID',
      `${path} has ${content.length} bytes; a configuration has at most ${fileBytesMax}`,
    );
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch (cause) {
    throw commonError('CONFIG_INVALID', `${path} is not UTF-8`, { cause });
  }
  return await validateConfig(text, path, env);
}

/**
 * Checks the text of a configuration file without touching anything. Relative paths in it are taken from the folder of `path`.
 * @throws AppError CONFIG_INVALID with all problems, one a line in the message and as `details.problems`.
 */
export async function validateConfig(text: string, path: string, env: Environment = {}): Promise<LoadConfig> {
  const file = parseFile(text, path);
  const values = file.plainValues();

  const complaints: Complaint[] = [];
  const directory = dirname(path);
  const archives = hasOnlyKeysOf(loadConfigSchema.shape, values) ? null : await import('./archive-sections.ts');
  const schema = archives === null ? loadConfigSchema : archives.fileSchema();
  const result = schema.safeParse(values);
  if (!result.success) complaints.push(...complaintsOf(result.error.issues, schema, values));
  if (archives !== null && valueAt(values, ['load']) === undefined && valueAt(values, ['archive']) === undefined)
    complaints.push({ path: ['load'], message: 'is missing; a configuration has load, archive or both' });
  // A fault elsewhere must not hide what is wrong here, so each entry is completed on its own.
  const databases = valueAt(values, ['databases']);
  const names =
    databases === undefined ? [] : typeof databases === 'object' && databases !== null ? Object.keys(databases) : null;
  const load = completedEntries(values, directory, names, file, complaints);
  const archived = archives?.archiveConfig(values, { directory, env, position: (at) => file.position(at) });
  complaints.push(...(archived?.complaints ?? []));
  if (result.success) complaints.push(...sectionComplaints(result.data));
  const problems = [...file.scalarProblems(), ...complaints.map((complaint) => file.located(complaint))];
  if (problems.length > 0 || !result.success) throw file.invalid(problems);
  // The schema takes nothing but a map at the root.
  const sections = resolvedSections(result.data, values as Record<string, unknown>, directory);
  return { path, load, ...(archived?.config ?? nothingArchived), ...sections };
}

const nothingArchived: ArchiveConfig = { archive: [], stores: [], limits: standardLimits };

/** The start of a pod that only loads is spared the rest: importing it and making its schemas costs 6 ms. */
function hasOnlyKeysOf(shape: object, values: unknown): boolean {
  return typeof values === 'object' && values !== null && Object.keys(values).every((key) => Object.hasOwn(shape, key));
}

/** @throws AppError CONFIG_INVALID with all faults of syntax. */
function parseFile(text: string, path: string): ParsedFile {
  const lines = new LineCounter();
  let document: Document.Parsed;
  try {
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, version: '1.2' });
  } catch (cause) {
    // The parser calls itself for each level, so that a file of brackets alone exhausts the stack.
    if (cause instanceof RangeError) throw commonError('CONFIG_INVALID', `${path} is nested too deeply`, { cause });
    throw cause;
  }
  const file = new ParsedFile(document, lines, path);
  const syntax = [...document.errors, ...document.warnings].map((error) =>
    file.problem(error.pos[0], '', syntaxMessage(error.code, error.message)),
  );
  if (syntax.length > 0) throw file.invalid(syntax);
  return file;
}

function completedEntries(
  values: unknown,
  directory: string,
  databases: readonly string[] | null,
  file: ParsedFile,
  complaints: Complaint[],
): LoadTable[] {
  const entries = valueAt(values, ['load']);
  if (!Array.isArray(entries)) return [];
  const tables: LoadTable[] = [];
  const seen = new Map<string, number>();
  for (const [index, raw] of entries.entries()) {
    const name = valueAt(raw, ['table']);
    if (typeof name === 'string') {
      const earlier = seen.get(name);
      if (earlier !== undefined)
        complaints.push({ path: ['load', index, 'table'], message: `${name} is loaded by load[${earlier}] already` });
      else seen.set(name, index);
    }
    const entry = loadEntrySchema.safeParse(raw);
    if (!entry.success) continue;
    const table = loadTable(entry.data, directory, databases);
    if ('table' in table) tables.push({ ...table, position: file.position(['load', index]) });
    else complaints.push(...table.map((complaint) => ({ ...complaint, path: ['load', index, ...complaint.path] })));
  }
  return tables;
}

/** The parser's own messages repeat names from the text in these cases, which might be a secret in the wrong place. */
function syntaxMessage(code: string, message: string): string {
  if (code === 'BAD_ALIAS') return 'this alias has no anchor before it; quote a text that starts with *';
  if (code === 'TAG_RESOLVE_FAILED') return 'tags are not used here; quote a text that starts with !';
  if (code === 'DUPLICATE_KEY') return 'this key stands here twice';
  return message;
}

/** A parsed document that knows where each of its values stands. */
class ParsedFile {
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  readonly #path: string;

  constructor(document: Document.Parsed, lines: LineCounter, path: string) {
    this.#document = document;
    this.#lines = lines;
    this.#path = path;
  }

  /** The file as plain values. @throws AppError CONFIG_INVALID if aliases multiply beyond reason. */
  plainValues(): unknown {
    try {
      return this.#document.toJS({ maxAliasCount: aliasesMax });
    } catch (cause) {
      throw this.invalid([this.problem(0, '', 'its aliases multiply beyond reason')], cause);
    }
  }

  /** Faults that plain values no longer show: numbers that lost digits, and the one key that JavaScript reserves. */
  scalarProblems(): Problem[] {
    const found: Problem[] = [];
    visit(this.#document, {
      Pair: (_key, pair) => {
        if (isScalar(pair.key) && pair.key.value === '__proto__')
          found.push(this.problem(pair.key.range?.[0] ?? 0, '', '__proto__ cannot be a key'));
      },
      Scalar: (_key, scalar) => {
        if (typeof scalar.value === 'number' && losesDigits(scalar.source ?? '', scalar.value)) {
          found.push(
            this.problem(scalar.range?.[0] ?? 0, '', 'this number has more digits than can be kept; put it in quotes'),
          );
        }
      },
    });
    return found;
  }

  problem(offset: number, path: string, message: string): Problem {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1), path, message };
  }

  located(complaint: Complaint): Problem {
    return this.problem(
      this.#offset(complaint.path, complaint.atKey === true),
      pathText(complaint.path),
      complaint.message,
    );
  }

  /** `file:line:column` of the value at `path`. */
  position(path: readonly (string | number)[]): string {
    const { line, column } = this.problem(this.#offset(path, false), '', '');
    return `${this.#path}:${line}:${column}`;
  }

  invalid(problems: readonly Problem[], cause?: unknown): AppError {
    const sorted = problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
    const told = sorted
      .slice(0, problemsMax)
      .map(
        ({ line, column, path, message }) =>
          `${this.#path}:${line}:${column} ${path === '' ? '' : `${path}: `}${message}`,
      );
    if (sorted.length > problemsMax) told.push(`and ${sorted.length - problemsMax} more`);
    return commonError('CONFIG_INVALID', told.join('\n'), {
      cause,
      details: { problems: sorted.slice(0, problemsMax) },
    });
  }

  /** Where the value (or its key) stands; for what is missing, the nearest thing around it that exists. */
  #offset(path: readonly (string | number)[], atKey: boolean): number {
    let node: unknown = this.#document.contents;
    let offset = startOf(node) ?? 0;
    for (const [index, part] of path.entries()) {
      if (isAlias(node)) node = node.resolve(this.#document);
      const last = index === path.length - 1;
      if (isMap(node)) {
        const pair: Pair | undefined = node.items.find(
          (item) => isScalar(item.key) && String(item.key.value) === String(part),
        );
        if (!pair) return offset;
        if (last && atKey) return startOf(pair.key) ?? offset;
        offset = startOf(pair.value) ?? startOf(pair.key) ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(part)];
        offset = startOf(node) ?? offset;
      } else return offset;
    }
    return offset;
  }
}

function startOf(node: unknown): number | undefined {
  // Nodes of a parsed document carry ranges; anything else stands nowhere of its own.
  return (node as Node | null | undefined)?.range?.[0];
}

function pathText(path: readonly (string | number)[]): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`)).join('');
}

/** True if the decimal text says more than the double it became. */
function losesDigits(source: string, value: number): boolean {
  if (!/^[-+]?[\d.]+$/.test(source) || !Number.isFinite(value)) return false;
  return digitsOf(source) !== digitsOf(value.toFixed(Math.min(fractionDigits(source), 100)));
}

function fractionDigits(source: string): number {
  return source.includes('.') ? source.length - source.indexOf('.') - 1 : 0;
}

function digitsOf(text: string): string {
  const plain = text.replace(/^[-+]/, '');
  return (plain.includes('.') ? plain.replace(/\.?0*$/, '') : plain).replace(/^0+/, '');
}
