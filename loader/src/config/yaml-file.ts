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
import type { Complaint } from './load-config.ts';

/** One fault of the file and where it stands, counted from 1. */
export interface Problem {
  readonly line: number;
  readonly column: number;
  /** `load[0].key`, or empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

const problemsMax = 50;
const aliasesMax = 100;

/** @throws AppError CONFIG_INVALID with all faults of syntax. */
export function parseFile(text: string, path: string): ParsedFile {
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
