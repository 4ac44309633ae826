/** What a piece of SQL text is to the splitter and the classifier. */
export type TokenKind =
  | 'space'
  /** A comment that no server executes. */
  | 'comment'
  /** The opening of an executable comment with its version: `/*!50003`, `/*M!100100`. */
  | 'executable-open'
  | 'executable-close'
  /** `'…'` or `"…"`. */
  | 'string'
  /** A name in backticks. */
  | 'quoted-name'
  /** An unquoted name, keyword or number. */
  | 'word'
  /** One further character. */
  | 'symbol'
  /** A string, quoted name or comment that runs to the end of the text without being closed. */
  | 'unterminated';

export interface Token {
  readonly kind: TokenKind;
  /** Offset of the first character. */
  readonly start: number;
  /** Offset behind the last character. */
  readonly end: number;
}

export interface TokenOptions {
  /** As sql_mode NO_BACKSLASH_ESCAPES: a backslash in a string is a character like any other. */
  readonly noBackslashEscapes?: boolean;
  /** How many executable comments are open at `position`; `*\/` closes one only when there is one. */
  readonly executableDepth?: number;
}

// ASCII only: a no-break space is part of a name to the servers.
const spacePattern = /[ \t\n\v\f\r]+/y;
const wordPattern = /[\w$\u0080-\uffff]+/y;
const executablePattern = /\/\*M?!\d*/y;

/**
 * The token at `position`, which must lie inside the text. Every character belongs to exactly one token, so that the
 * tokens of a text joined are the text.
 */
export function tokenAt(sql: string, position: number, options: TokenOptions = {}): Token {
  const character = sql[position] ?? '';
  const next = sql[position + 1] ?? '';
  if (matchesAt(spacePattern, sql, position)) return token('space', position, spacePattern.lastIndex);
  if (character === '#' || (character === '-' && next === '-' && endsDashes(sql, position + 2))) {
    return token('comment', position, lineEnd(sql, position));
  }
  if (character === '/' && next === '*') return commentToken(sql, position);
  if (character === '*' && next === '/' && (options.executableDepth ?? 0) > 0) {
    return token('executable-close', position, position + 2);
  }
  if (character === "'" || character === '"') {
    return quotedToken(sql, position, 'string', options.noBackslashEscapes !== true);
  }
  if (character === '`') return quotedToken(sql, position, 'quoted-name', false);
  if (matchesAt(wordPattern, sql, position)) return token('word', position, wordPattern.lastIndex);
  return token('symbol', position, position + 1);
}

/** Counts lines as editors do: from 1, each `\n` starting a new one. Asked for rising offsets, it reads the text once. */
export function lineCounter(sql: string, firstLine = 1): (offset: number) => number {
  let line = firstLine;
  let counted = 0;
  return (offset) => {
    for (let at = sql.indexOf('\n', counted); at !== -1 && at < offset; at = sql.indexOf('\n', at + 1)) {
      line += 1;
      counted = at + 1;
    }
    return line;
  };
}

function token(kind: TokenKind, start: number, end: number): Token {
  return { kind, start, end };
}

function matchesAt(pattern: RegExp, sql: string, position: number): boolean {
  pattern.lastIndex = position;
  return pattern.test(sql);
}

// A double dash opens a comment only before white space or a control character: `5--2` is arithmetic in MySQL.
function endsDashes(sql: string, position: number): boolean {
  return position >= sql.length || sql.charCodeAt(position) <= 0x20 || sql.charCodeAt(position) === 0x7f;
}

function lineEnd(sql: string, position: number): number {
  const end = sql.indexOf('\n', position);
  return end === -1 ? sql.length : end;
}

function commentToken(sql: string, position: number): Token {
  if (matchesAt(executablePattern, sql, position)) {
    const end = executablePattern.lastIndex;
    const version = sql.slice(position, end).replace(/^\D+/, '');
    if (!isNeverExecuted(version)) return token('executable-open', position, end);
    return blockComment(sql, position, skipInner(sql, position + 2));
  }
  return blockComment(sql, position, position + 2);
}

function blockComment(sql: string, position: number, from: number): Token {
  const close = sql.indexOf('*/', from);
  return close === -1 ? token('unterminated', position, sql.length) : token('comment', position, close + 2);
}

// A server that skips an executable comment for its version lets plain comments stand inside it.
function skipInner(sql: string, from: number): number {
  let position = from;
  for (let limit = sql.length; limit > 0; limit -= 1) {
    const open = sql.indexOf('/*', position);
    const close = sql.indexOf('*/', position);
    if (open === -1 || close === -1 || close < open) return position;
    const innerClose = sql.indexOf('*/', open + 2);
    if (innerClose === -1) return position;
    position = innerClose + 2;
  }
  return position;
}

// Versions that no server reaches are how dumps hide text from every server (`/*M!999999\- …`), so it need not be SQL.
function isNeverExecuted(version: string): boolean {
  return version === '99999' || (version.length >= 6 && version.startsWith('9999'));
}

function quotedToken(sql: string, position: number, kind: 'string' | 'quoted-name', backslashEscapes: boolean): Token {
  const quote = sql[position];
  for (let at = position + 1; at < sql.length; at += 1) {
    const character = sql[at];
    if (character === '\\' && backslashEscapes) at += 1;
    else if (character === quote) {
      if (sql[at + 1] !== quote) return token(kind, position, at + 1);
      at += 1;
    }
  }
  return token('unterminated', position, sql.length);
}
