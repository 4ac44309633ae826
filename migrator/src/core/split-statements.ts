import { migrationError } from '../errors.ts';
import { compoundTracker } from './compound-tracker.ts';
import { lineCounter, type Token, type TokenOptions, tokenAt } from './sql-tokens.ts';

/** One statement of a script as the server is to get it. */
export interface Statement {
  /** Place in the script, from 0. */
  readonly index: number;
  /** Line of the file where the statement starts, from 1. */
  readonly line: number;
  /** The statement without its delimiter and without the comments and white space around it; otherwise every byte. */
  readonly text: string;
  /** Offsets of `text` in the script. */
  readonly start: number;
  readonly end: number;
}

export interface SplitOptions {
  /** As sql_mode NO_BACKSLASH_ESCAPES. Default false. */
  readonly noBackslashEscapes?: boolean;
  /** Line of the file on which the script starts, from 1. */
  readonly firstLine?: number;
  /** Index of the first statement. */
  readonly firstIndex?: number;
  /** The file, for error messages. */
  readonly file?: string;
}

const delimiterCommand = /delimiter(?![\w$\u0080-\uffff])[ \t]*([^\r\n]*)/iy;
const clientCommand = /(?:source|system)[ \t]|\\[.!]/iy;

/**
 * Splits a MySQL or MariaDB script into statements as the mysql client does, and better in three ways: executable
 * comments and bodies of stored programs may hold `;` without a DELIMITER, and no statement is cut within a string of an
 * executable comment.
 * Comments between statements are left out, those within them stay. `\g` and `\G` end a statement as `;` does.
 * @throws AppError MIGRATION_SQL_UNTERMINATED, MIGRATION_DELIMITER_INVALID, MIGRATION_CLIENT_COMMAND, with file and line
 */
export function* splitStatements(sql: string, options: SplitOptions = {}): Generator<Statement, void, undefined> {
  const scan = new Scan(sql, options);
  let index = options.firstIndex ?? 0;
  for (let range = scan.nextRange(); range !== undefined; range = scan.nextRange()) {
    yield { index, line: scan.lineAt(range.start), text: sql.slice(range.start, range.end), ...range };
    index += 1;
  }
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/** A walk through one script, from statement to statement. */
class Scan {
  readonly #sql: string;
  readonly #options: SplitOptions;
  readonly lineAt: (offset: number) => number;
  #position: number;
  #delimiter = ';';

  constructor(sql: string, options: SplitOptions) {
    this.#sql = sql;
    this.#options = options;
    this.#position = sql.startsWith('\ufeff') ? 1 : 0;
    this.lineAt = lineCounter(sql, options.firstLine);
  }

  /** The range of the next statement, or undefined at the end of the script. */
  nextRange(): Range | undefined {
    const start = this.#skipToStatement();
    return start === undefined ? undefined : { start, end: trimmedEnd(this.#sql, start, this.#skipStatement(start)) };
  }

  /** Passes over white space, comments, empty statements and DELIMITER lines. */
  #skipToStatement(): number | undefined {
    while (this.#position < this.#sql.length) {
      const terminator = this.#terminatorLength(this.#position);
      if (terminator > 0) {
        this.#position += terminator;
        continue;
      }
      const token = this.#tokenAt(this.#position, {});
      if (token.kind === 'space' || token.kind === 'comment') this.#position = token.end;
      else if (!this.#takeDelimiterCommand(this.#position)) {
        this.#refuseClientCommand(this.#position);
        return this.#position;
      }
    }
    return undefined;
  }

  /** Passes over the statement at `start` and its delimiter, and gives the offset behind the statement. */
  #skipStatement(start: number): number {
    const tracker = compoundTracker();
    const tracksBlocks = this.#delimiter === ';';
    const openExecutables: number[] = [];
    let position = start;
    while (position < this.#sql.length) {
      const terminator = openExecutables.length > 0 ? 0 : this.#terminatorLength(position);
      if (terminator > 0 && !(tracker.isOpen() && this.#sql[position] === ';')) {
        this.#position = position + terminator;
        return position;
      }
      const token = this.#tokenAt(position, { executableDepth: openExecutables.length });
      if (token.kind === 'executable-open') openExecutables.push(token.start);
      else if (token.kind === 'executable-close') openExecutables.pop();
      else if (token.kind === 'word' && openExecutables.length === 0 && this.#isForgottenDelimiter(token.start)) {
        this.#position = token.start;
        return token.start;
      } else if (tracksBlocks) feed(tracker, this.#sql, token);
      position = token.end;
    }
    const unclosed = openExecutables[0];
    if (unclosed !== undefined) throw this.#unterminated('executable comment', unclosed);
    if (tracker.isOpen()) throw this.#unterminated('block of the stored program', start);
    this.#position = position;
    return position;
  }

  /** The token at `position`, cut short where the delimiter starts within a word (`END$$`). */
  #tokenAt(position: number, options: TokenOptions): Token {
    const { noBackslashEscapes = false } = this.#options;
    const token = tokenAt(this.#sql, position, { ...options, noBackslashEscapes });
    if (token.kind === 'unterminated') throw this.#unterminated(whatOpens(this.#sql, position), position);
    if (token.kind === 'word' && this.#delimiter.startsWith('$')) {
      const cut = this.#sql.slice(token.start, token.end).indexOf(this.#delimiter);
      if (cut > 0) return { ...token, end: token.start + cut };
    }
    return token;
  }

  /** How many characters at `position` end a statement; 0 when none do. */
  #terminatorLength(position: number): number {
    if (this.#sql[position] === '\\' && /[gG]/.test(this.#sql[position + 1] ?? '')) return 2;
    if (!this.#sql.startsWith(this.#delimiter, position)) return 0;
    const { length } = this.#delimiter;
    // A delimiter such as `go` is the whole word, not the start of `goods`.
    const isWithinWord =
      /[0-9A-Za-z_]$/.test(this.#delimiter) && /^[\w$\u0080-\uffff]/.test(this.#sql[position + length] ?? '');
    return isWithinWord ? 0 : length;
  }

  #takeDelimiterCommand(position: number): boolean {
    const argument = this.#delimiterArgument(position);
    if (argument === undefined) return false;
    if (argument === '' || argument.includes('\\')) {
      const message = `${this.#place(position)}: DELIMITER ${argument === '' ? 'names no delimiter' : 'may not contain a backslash'}`;
      throw migrationError('MIGRATION_DELIMITER_INVALID', message);
    }
    this.#delimiter = argument;
    this.#position = delimiterCommand.lastIndex;
    return true;
  }

  /** The argument of the DELIMITER command at `position`, undefined when there is no such command. */
  #delimiterArgument(position: number): string | undefined {
    delimiterCommand.lastIndex = position;
    const match = delimiterCommand.exec(this.#sql);
    if (match === null) return undefined;
    const rest = match[1] ?? '';
    const quoted = /^(['"`])(.+?)\1/.exec(rest);
    return quoted?.[2] ?? /^\S*/.exec(rest)?.[0] ?? '';
  }

  /**
   * Whether a DELIMITER line stands where a statement was not ended, which the mysql client takes for its end. A column may
   * be called `delimiter`, so that only an argument without letters, digits, brackets and quotes is believed.
   */
  #isForgottenDelimiter(position: number): boolean {
    if (!/^d/i.test(this.#sql[position] ?? '')) return false;
    const lineStart = this.#sql.lastIndexOf('\n', position - 1) + 1;
    if (/\S/.test(this.#sql.slice(lineStart, position))) return false;
    const argument = this.#delimiterArgument(position);
    return argument !== undefined && /^[^\w\s'"`(),=<>.]+$/.test(argument);
  }

  #refuseClientCommand(position: number): void {
    clientCommand.lastIndex = position;
    const match = clientCommand.exec(this.#sql);
    if (match === null) return;
    const message = `${this.#place(position)}: ${match[0].trim()} is a command of the mysql client, which no server understands`;
    throw migrationError('MIGRATION_CLIENT_COMMAND', message);
  }

  #unterminated(what: string, position: number) {
    const message = `${this.#place(position)}: the ${what} that starts here is never closed`;
    return migrationError('MIGRATION_SQL_UNTERMINATED', message);
  }

  #place(position: number): string {
    // A fresh counter: the running one may have passed this offset.
    const line = lineCounter(this.#sql, this.#options.firstLine)(position);
    return this.#options.file === undefined ? `line ${line}` : `${this.#options.file}:${line}`;
  }
}

function feed(tracker: ReturnType<typeof compoundTracker>, sql: string, token: Token): void {
  if (token.kind === 'word') tracker.take(sql.slice(token.start, token.end).toUpperCase());
  else if (token.kind === 'symbol') tracker.take(sql.slice(token.start, token.end));
  else if (token.kind === 'string' || token.kind === 'quoted-name') tracker.take('');
}

function whatOpens(sql: string, position: number): string {
  const character = sql[position];
  if (character === '/') return 'comment';
  return character === '`' ? 'quoted name' : 'string';
}

function trimmedEnd(sql: string, start: number, end: number): number {
  let trimmed = end;
  while (trimmed > start && /[ \t\n\v\f\r]/.test(sql[trimmed - 1] ?? '')) trimmed -= 1;
  return trimmed;
}
