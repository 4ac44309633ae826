import type { Connection } from '@tableset/common/database/connection.ts';
import { excerpt } from '@tableset/common/database/failure.ts';
import type { SchemaLock } from '@tableset/common/database/lock.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { commonError } from '@tableset/common/errors.ts';
import type { Migration } from './core/formats/migration.ts';
import { historyTable, journalTable } from './history.ts';

export type StatementState = 'pending' | 'started' | 'done';

/** One row of `tableset_migration_statements`. */
export interface JournalRow {
  /** Place in the file, from 1. */
  readonly statement: number;
  readonly line: number;
  readonly checksum: string;
  readonly excerpt: string;
  readonly state: StatementState;
  /** What `snapshotObjects` saw before the statement ran, or null. */
  readonly before: string | null;
}

/** What the journal keeps of a statement before it runs. */
export interface JournalEntry {
  readonly number: number;
  readonly line: number;
  readonly checksum: string;
  readonly text: string;
}

export type Direction = 'up' | 'down';

export interface MigrationStart {
  readonly migration: Pick<Migration, 'id' | 'name' | 'file' | 'checksum' | 'kind'>;
  readonly direction: Direction;
  readonly runId: string;
  readonly appliedBy: string;
}

/** Rows of one INSERT, so that a file of many thousand statements stays under max_allowed_packet. */
const rowsPerInsert = 500;

/**
 * The record of one migration, statement by statement. Its rows are inserted before the file starts and only updated
 * after that, because an INSERT would change the file's LAST_INSERT_ID(). Every update proves that this session still
 * holds the schema's lock. Names are qualified, because the file may have said USE.
 */
export class Journal {
  readonly #connection: Connection;
  readonly #lockName: string;
  readonly #version: string;
  readonly #journal: string;
  readonly #history: string;

  constructor(lock: SchemaLock, version: string) {
    this.#connection = lock.connection;
    this.#lockName = lock.name;
    this.#version = version;
    this.#journal = quoteTable(lock.connection.settings.name, journalTable);
    this.#history = quoteTable(lock.connection.settings.name, historyTable);
  }

  /** Writes the migration's row and one pending row for each statement, in one transaction. */
  async begin(start: MigrationStart, entries: readonly JournalEntry[]): Promise<void> {
    const connection = this.#connection;
    await connection.run('START TRANSACTION');
    const { migration, runId, appliedBy } = start;
    if (start.direction === 'up') {
      // A repeatable migration that ran before has its row already.
      await connection.run(
        `${migration.kind === 'repeatable' ? 'REPLACE' : 'INSERT'} INTO ${this.#history} (version, name, file, checksum, state, is_repeatable, is_baseline, statements, started_at, run_id, applied_by) VALUES (?, ?, ?, ?, 'applying', ?, ?, ?, UTC_TIMESTAMP(6), ?, ?)`,
        [
          migration.id,
          migration.name,
          migration.file,
          migration.checksum,
          migration.kind === 'repeatable',
          migration.kind === 'baseline',
          entries.length,
          runId,
          appliedBy,
        ],
      );
    } else {
      await connection.run(
        `UPDATE ${this.#history} SET state = 'reverting', statements = ?, started_at = UTC_TIMESTAMP(6), run_id = ?, applied_by = ?, error = NULL WHERE version = ?`,
        [entries.length, runId, appliedBy, this.#version],
      );
    }
    await this.#replaceFrom(1, entries);
    await connection.run('COMMIT');
  }

  /** Takes up an unfinished migration again: the statements from `first` on may have been edited since. */
  async resume(start: MigrationStart, first: number, entries: readonly JournalEntry[]): Promise<void> {
    const connection = this.#connection;
    const { migration } = start;
    await connection.run('START TRANSACTION');
    await connection.run(
      `UPDATE ${this.#history} SET name = ?, file = ?, checksum = ?, statements = ?, run_id = ?, applied_by = ?, error = NULL WHERE version = ?`,
      [migration.name, migration.file, migration.checksum, entries.length, start.runId, start.appliedBy, this.#version],
    );
    await this.#replaceFrom(
      first,
      entries.filter((entry) => entry.number >= first),
    );
    await connection.run('COMMIT');
  }

  async #replaceFrom(first: number, entries: readonly JournalEntry[]): Promise<void> {
    await this.#connection.run(`DELETE FROM ${this.#journal} WHERE version = ? AND statement >= ?`, [
      this.#version,
      first,
    ]);
    for (let from = 0; from < entries.length; from += rowsPerInsert) {
      const part = entries.slice(from, from + rowsPerInsert);
      await this.#connection.run(
        `INSERT INTO ${this.#journal} (version, statement, line, checksum, excerpt, state) VALUES ${part.map(() => "(?, ?, ?, ?, ?, 'pending')").join(', ')}`,
        part.flatMap((entry) => [this.#version, entry.number, entry.line, entry.checksum, excerpt(entry.text)]),
      );
    }
  }

  /** The rows of the migration in order. */
  async read(): Promise<readonly JournalRow[]> {
    const rows = await this.#connection.rows(
      `SELECT statement, line, checksum, excerpt, state, before_state FROM ${this.#journal} WHERE version = ? ORDER BY statement`,
      [this.#version],
    );
    return rows.map((row) => ({
      statement: Number(row['statement']),
      line: Number(row['line']),
      checksum: String(row['checksum']),
      excerpt: String(row['excerpt']),
      state: row['state'] === 'done' || row['state'] === 'started' ? row['state'] : 'pending',
      before: row['before_state'] === null ? null : String(row['before_state']),
    }));
  }

  /** Records that the statement is about to run. Uncommitted: the statement's own implicit commit, if it has one, commits this too. */
  async markStarted(statement: number, before: string | null): Promise<void> {
    await this.#update(
      "state = 'started', started_at = UTC_TIMESTAMP(6), finished_at = NULL, before_state = ?",
      [before],
      statement,
      statement,
    );
  }

  /** Records that the statements took effect; in the transaction of their changes. */
  async markDone(first: number, last = first): Promise<void> {
    await this.#update("state = 'done', finished_at = UTC_TIMESTAMP(6)", [], first, last);
  }

  /** Records that the statement had no effect after all. */
  async markPending(statement: number): Promise<void> {
    await this.#update("state = 'pending', started_at = NULL, before_state = NULL", [], statement, statement);
  }

  async #update(assignments: string, values: readonly (string | null)[], first: number, last: number): Promise<void> {
    const { affectedRows } = await this.#connection.run(
      `UPDATE ${this.#journal} SET ${assignments} WHERE version = ? AND statement BETWEEN ? AND ? AND IS_USED_LOCK(?) = CONNECTION_ID()`,
      [...values, this.#version, first, last, this.#lockName],
    );
    if (affectedRows === last - first + 1) return;
    throw commonError(
      'LOCK_LOST',
      `the lock of schema ${this.#connection.settings.name} is no longer held, or the journal of version ${this.#version} was changed by someone else`,
    );
  }

  /** Keeps the error that ended the migration, for `status`. */
  async fail(message: string): Promise<void> {
    await this.#connection.run(`UPDATE ${this.#history} SET error = ? WHERE version = ?`, [
      message.slice(0, 4000),
      this.#version,
    ]);
  }

  /** Whether a statement was sent of which nobody knows whether it took effect. */
  async isInDoubt(): Promise<boolean> {
    const started = await this.#connection.row(
      `SELECT 1 AS found FROM ${this.#journal} WHERE version = ? AND state = 'started' LIMIT 1`,
      [this.#version],
    );
    return started !== null;
  }

  /** Ends the migration: applied, or gone from the history when it was reverted. */
  async finish(direction: Direction, seconds: number): Promise<void> {
    const connection = this.#connection;
    if (direction === 'up') {
      await connection.run(
        `UPDATE ${this.#history} SET state = 'applied', applied_at = UTC_TIMESTAMP(6), seconds = ?, error = NULL WHERE version = ?`,
        [seconds.toFixed(3), this.#version],
      );
      return;
    }
    await connection.run('START TRANSACTION');
    await connection.run(`DELETE FROM ${this.#journal} WHERE version = ?`, [this.#version]);
    await connection.run(`DELETE FROM ${this.#history} WHERE version = ?`, [this.#version]);
    await connection.run('COMMIT');
  }
}
