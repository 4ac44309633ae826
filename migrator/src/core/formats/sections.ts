import { migrationError } from '../../errors.ts';
import { classifyStatement } from '../classify-statement.ts';
import { type SplitOptions, type Statement, splitStatements } from '../split-statements.ts';
import { lineCounter } from '../sql-tokens.ts';

/** A part of a migration file that runs in one direction. */
export interface Section {
  /** The file without its byte-order mark. */
  readonly source: string;
  readonly blocks: readonly Block[];
  readonly transaction: boolean;
}

/** A stretch of the source; `whole` when the file says that it is one statement. */
interface Block {
  readonly start: number;
  readonly end: number;
  readonly whole: boolean;
}

export interface Sections {
  readonly up: Section;
  readonly down: Section | undefined;
}

// Only lines that may hold a marker are looked at one by one: most files of a large folder are only ever checked this far.
const migrateLine = /^[ \t]*--[ \t]*migrate\b.*$/gim;
const migrateMarker = /^--[ \t]*migrate:(up|down)(?:[ \t]+(.*?))?\s*$/;
const nearMigrateMarker = /^\s*--\s*migrate\s*:?\s*(?:up|down)\s*$/i;
const gooseLine = /^[ \t]*--[ \t]*\+goose\b.*$/gim;
const gooseMarker = /^[ \t]*--[ \t]*\+goose[ \t]+(.*?)\s*$/i;
const foreignMarker =
  /^[ \t]*(?:--[ \t]*\+(?!goose\b)\w+[ \t]+(?:up|down)\b|--[ \t]*rambler[ \t]+(?:up|down)\b|--[ \t]*\/\/[ \t]*@UNDO|#[ \t]*---[ \t]*!(?:Ups|Downs)|--[ \t]*liquibase[ \t]+formatted)/im;

/** Which tool's markers a file holds. */
export function markersOf(text: string): 'migrate' | 'goose' | 'none' {
  if (/^[ \t]*--[ \t]*\+goose\b/im.test(text)) return 'goose';
  return /^\s*--\s*migrate\s*:?\s*(?:up|down)\b/im.test(text) ? 'migrate' : 'none';
}

/** The marker of a tool that is not read, whose undo part would otherwise run as part of the migration. */
export function foreignMarkerOf(text: string): string | undefined {
  return foreignMarker.exec(text)?.[0].trim();
}

/**
 * Reads `-- migrate:up [transaction:false]` and `-- migrate:down`. Without the first, what stands before the second is the
 * way up; without both, all of it is.
 * @throws AppError MIGRATION_SECTION_INVALID for markers that are repeated, misspelt or in the wrong order
 */
export function parseMigrateSections(source: string, file: string): Sections {
  const [first, second, third] = migrateMarkers(source, file);
  const section = (start: number, end = source.length, transaction = true): Section => ({
    source,
    blocks: [{ start, end, whole: false }],
    transaction,
  });
  if (first === undefined) return { up: section(0), down: undefined };
  if (third !== undefined || second?.direction === first.direction) {
    throw invalid(file, lineAt(source, (third ?? second ?? first).start), 'a section is marked twice');
  }
  if (first.direction === 'down') {
    if (second === undefined) {
      return { up: section(0, first.start), down: section(first.end, source.length, first.transaction) };
    }
    throw invalid(file, lineAt(source, second.start), 'the way down stands before the way up');
  }
  refuseStatementsBefore(source.slice(0, first.start), file, '-- migrate:up');
  return {
    up: section(first.end, second?.start, first.transaction),
    down: second && section(second.end, source.length, second.transaction),
  };
}

interface MigrateMarker {
  readonly direction: string;
  readonly transaction: boolean;
  readonly start: number;
  readonly end: number;
}

function migrateMarkers(source: string, file: string): MigrateMarker[] {
  return [...source.matchAll(migrateLine)].flatMap(({ 0: line, index: start }) => {
    const match = migrateMarker.exec(line);
    if (match !== null) {
      const transaction = migrateOptions(match[2] ?? '', file, () => lineAt(source, start));
      return [{ direction: match[1] ?? '', transaction, start, end: start + line.length }];
    }
    if (nearMigrateMarker.test(line)) {
      const message = `${line.trim()} is written otherwise: -- migrate:up or -- migrate:down`;
      throw invalid(file, lineAt(source, start), message);
    }
    return [];
  });
}

/**
 * Reads goose's `-- +goose Up`, `Down`, `StatementBegin`, `StatementEnd` and `NO TRANSACTION`.
 * @throws AppError MIGRATION_SECTION_INVALID, or MIGRATION_UNSUPPORTED for `ENVSUB ON`
 */
export function parseGooseSections(source: string, file: string): Sections {
  const reader = new GooseReader(source, file);
  for (const { 0: line, index } of source.matchAll(gooseLine)) {
    const command = gooseMarker.exec(line)?.[1] ?? '';
    reader.command(command.toUpperCase().replace(/\s+/g, ' '), index, index + line.length);
  }
  return reader.finish();
}

/** The statements of a section, numbered through its blocks. */
export function sectionStatements(section: Section, file: string, noBackslashEscapes = false): Statement[] {
  const statements: Statement[] = [];
  for (const { start, end, whole } of section.blocks) {
    const text = section.source.slice(start, end);
    const firstLine = lineAt(section.source, start);
    const options: SplitOptions = { firstLine, firstIndex: statements.length, file, noBackslashEscapes };
    if (whole && definesProgram(text)) statements.push(wholeStatement(text, firstLine, statements.length));
    else statements.push(...splitStatements(text, options));
  }
  return statements;
}

/** Takes the markers of a goose file in order; what lies between two of them is a block. */
class GooseReader {
  readonly #source: string;
  readonly #file: string;
  readonly #up: Block[] = [];
  readonly #down: Block[] = [];
  #blocks: Block[] | undefined;
  #isWhole = false;
  #transaction = true;
  /** Where the present block starts. */
  #start = 0;

  constructor(source: string, file: string) {
    this.#source = source;
    this.#file = file;
  }

  command(command: string, start: number, end: number): void {
    if (command === 'UP' || command === 'DOWN') this.#open(command, start);
    else if (command === 'STATEMENTBEGIN' || command === 'STATEMENTEND') this.#statement(command, start);
    else if (command === 'NO TRANSACTION') this.#transaction = false;
    else if (command === 'ENVSUB ON') {
      const place = `${this.#file}:${lineAt(this.#source, start)}`;
      throw migrationError('MIGRATION_UNSUPPORTED', `${place}: goose's ENVSUB is not carried out`);
    } else if (command !== 'ENVSUB OFF') throw this.#invalid(start, `-- +goose ${command} is not known`);
    // NO TRANSACTION and ENVSUB OFF are comments to the splitter and may stand within a block.
    if (/^(?:UP|DOWN|STATEMENT)/.test(command)) this.#start = end;
  }

  finish(): Sections {
    if (this.#isWhole) throw this.#invalid(this.#start, '-- +goose StatementBegin has no StatementEnd');
    if (this.#blocks === undefined) throw this.#invalid(0, 'there is no -- +goose Up');
    const hasDown = this.#blocks === this.#down;
    this.#endBlock(this.#source.length);
    const section = (blocks: readonly Block[]): Section => ({
      source: this.#source,
      blocks,
      transaction: this.#transaction,
    });
    return { up: section(this.#up), down: hasDown ? section(this.#down) : undefined };
  }

  #open(direction: string, start: number): void {
    const expected = this.#blocks === undefined ? 'UP' : 'DOWN';
    if (direction !== expected || this.#blocks === this.#down || this.#isWhole) {
      throw this.#invalid(start, `-- +goose ${direction === 'UP' ? 'Up' : 'Down'} stands in the wrong place`);
    }
    if (direction === 'UP') refuseStatementsBefore(this.#source.slice(0, start), this.#file, '-- +goose Up');
    else this.#endBlock(start);
    this.#blocks = direction === 'UP' ? this.#up : this.#down;
  }

  #statement(command: string, start: number): void {
    const begins = command === 'STATEMENTBEGIN';
    if (this.#blocks === undefined || begins === this.#isWhole) {
      throw this.#invalid(start, `-- +goose Statement${begins ? 'Begin' : 'End'} stands in the wrong place`);
    }
    this.#endBlock(start);
    this.#isWhole = begins;
  }

  #endBlock(end: number): void {
    this.#blocks?.push({ start: this.#start, end, whole: this.#isWhole });
  }

  #invalid(offset: number, what: string) {
    return invalid(this.#file, lineAt(this.#source, offset), what);
  }
}

function migrateOptions(options: string, file: string, line: () => number): boolean {
  let transaction = true;
  for (const option of options.split(/\s+/).filter((part) => part !== '')) {
    const [, value] = /^transaction:(true|false)$/.exec(option) ?? [];
    if (value === undefined) throw invalid(file, line(), `the option ${option} is not known`);
    transaction = value === 'true';
  }
  return transaction;
}

function refuseStatementsBefore(before: string, file: string, marker: string): void {
  const [first] = splitStatements(before, { file });
  if (first !== undefined) throw invalid(file, first.line, `a statement stands before ${marker}`);
}

function definesProgram(text: string): boolean {
  return /^(?:CREATE|ALTER) (?:PROCEDURE|FUNCTION|TRIGGER|EVENT)$/.test(classifyStatement(text).verb);
}

function wholeStatement(text: string, firstLine: number, index: number): Statement {
  const start = text.length - text.trimStart().length;
  const end = text.trimEnd().replace(/;\s*$/, '').trimEnd().length;
  const line = firstLine + text.slice(0, start).split('\n').length - 1;
  return { index, line, text: text.slice(start, end), start, end };
}

function lineAt(source: string, offset: number): number {
  return lineCounter(source)(offset);
}

function invalid(file: string, line: number, what: string) {
  return migrationError('MIGRATION_SECTION_INVALID', `${file}:${line}: ${what}`);
}
