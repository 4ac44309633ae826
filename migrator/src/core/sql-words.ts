import { type TokenOptions, tokenAt } from './sql-tokens.ts';

/** One significant token of a statement; executable comments are looked into, other comments left out. */
export interface SqlWord {
  readonly kind: 'word' | 'name' | 'string' | 'symbol';
  /** A word in upper case, a quoted name without its quotes, a string or symbol as it stands. */
  readonly value: string;
  /** A word or symbol as it stands, a quoted name without its quotes. */
  readonly raw: string;
  readonly start: number;
  readonly end: number;
}

/** A possibly qualified name. */
export interface ObjectName {
  readonly schema?: string;
  readonly name: string;
}

/** The significant tokens of one statement, in order. Text that does not end properly counts as a string. */
export function sqlWords(text: string, options: TokenOptions = {}): SqlWord[] {
  const words: SqlWord[] = [];
  let executableDepth = 0;
  for (let position = 0; position < text.length; ) {
    const token = tokenAt(text, position, { ...options, executableDepth });
    const { kind, start, end } = token;
    if (kind === 'executable-open') executableDepth += 1;
    else if (kind === 'executable-close') executableDepth -= 1;
    else if (kind === 'quoted-name') words.push(quotedName(text, start, end));
    else if (kind === 'string' || kind === 'unterminated') words.push(plain('string', text, start, end));
    else if (kind === 'symbol') words.push(plain('symbol', text, start, end));
    else if (kind === 'word') {
      const raw = text.slice(start, end);
      words.push({ kind: 'word', value: raw.toUpperCase(), raw, start, end });
    }
    position = end;
  }
  return words;
}

/** Whether the token at `index` is the unquoted word `value` (or one of them), given in upper case. */
export function isWordAt(words: readonly SqlWord[], index: number, ...values: readonly string[]): boolean {
  const word = words[index];
  return word?.kind === 'word' && values.includes(word.value);
}

export function isSymbolAt(words: readonly SqlWord[], index: number, symbol: string): boolean {
  const word = words[index];
  return word?.kind === 'symbol' && word.value === symbol;
}

/** The name at `index`, `name` or `schema.name`, and the index behind it. */
export function nameAt(words: readonly SqlWord[], index: number): { object: ObjectName; next: number } | undefined {
  const first = words[index];
  if (first === undefined || !isName(first)) return undefined;
  const second = words[index + 2];
  if (isSymbolAt(words, index + 1, '.') && second !== undefined && isName(second)) {
    return { object: { schema: first.raw, name: second.raw }, next: index + 3 };
  }
  return { object: { name: first.raw }, next: index + 1 };
}

/** The index behind the words at `index` that are among `values`. */
export function skipWords(words: readonly SqlWord[], index: number, ...values: readonly string[]): number {
  let next = index;
  while (isWordAt(words, next, ...values)) next += 1;
  return next;
}

/** Whether a user variable (`@name`) stands at `index`: not a system variable, not the `@` of an account. */
export function isUserVariableAt(words: readonly SqlWord[], index: number): boolean {
  const at = words[index];
  const next = words[index + 1];
  const previous = words[index - 1];
  if (!isSymbolAt(words, index, '@') || at === undefined || next === undefined || next.start !== at.end) return false;
  if (isSymbolAt(words, index + 1, '@') || isSymbolAt(words, index - 1, '@')) return false;
  const isAccount = previous !== undefined && previous.end === at.start && previous.kind !== 'symbol';
  return (
    !isAccount || isWordAt(words, index - 1, 'SET', 'SELECT', 'INTO', 'BY', 'AND', 'OR', 'IN', 'WHEN', 'THEN', 'ELSE')
  );
}

function isName(word: SqlWord): boolean {
  return word.kind === 'word' || word.kind === 'name';
}

function plain(kind: 'string' | 'symbol', text: string, start: number, end: number): SqlWord {
  const raw = text.slice(start, end);
  return { kind, value: raw, raw, start, end };
}

function quotedName(text: string, start: number, end: number): SqlWord {
  const raw = text.slice(start + 1, end - 1).replaceAll('``', '`');
  return { kind: 'name', value: raw, raw, start, end };
}
