import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import type { SchemaLock } from '@tableset/common/database/lock.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { runDefinition } from './alter-table.ts';
import { describeBlockers } from './blockers.ts';
import type { Journal } from './journal.ts';
import { sameSnapshot, snapshotObjects } from './objects.ts';
import { delay, runKillable } from './session.ts';
import type { Step } from './step.ts';
import { stepFailure } from './step-failure.ts';
import { addJournalToLocks } from './table-locks.ts';

export interface ExecutionSettings {
  readonly lockRetries: number;
  /** Most rows of a table that an ALTER may copy; undefined for no limit. */
  readonly budgetRows: number | undefined;
}

export interface StepContext {
  readonly lock: SchemaLock;
  readonly journal: Journal;
  readonly file: string;
  readonly settings: ExecutionSettings;
  readonly output: Output;
  /** Stops before the next statement, and ends one that can be undone. */
  readonly signal: AbortSignal;
  /** Rows of this schema may be changed in ways that ROLLBACK does not undo: it has tables that are not InnoDB. */
  readonly hasPlainTables: boolean;
}

/** Faults that leave nothing behind and pass by themselves, so that the statement is worth another try. */
const passing: ReadonlySet<string> = new Set(['lock-wait', 'deadlock']);
const readsDiagnostics = /^(SHOW\s+(WARNINGS|ERRORS|COUNT)|GET\s+(CURRENT\s+|STACKED\s+)?DIAGNOSTICS)\b/i;
const pauseMs = 500;
const longestPauseMs = 15_000;

/**
 * Runs the steps from `first` (a number from 1) on, keeping the journal. The session is in autocommit=0 meanwhile, so that
 * a statement's changes and its journal row commit together, and so that the implicit commit of a definition first commits
 * the row that says it was started. It is not START TRANSACTION, because that gives up LOCK TABLES.
 * @throws AppError naming file, line and number of the statement that failed; what came before it stays done.
 */
export async function runSteps(context: StepContext, steps: readonly Step[], first: number): Promise<void> {
  const runner = new StepRunner(context, steps);
  await context.lock.connection.run('SET autocommit=0');
  await runner.run(first);
  await context.lock.connection.run('UNLOCK TABLES');
  await context.lock.connection.run('SET autocommit=1');
}

class StepRunner {
  readonly #context: StepContext;
  readonly #connection: Connection;
  readonly #steps: readonly Step[];
  /** Number of the first step of the file's own open transaction, whose rows of the journal are still to be marked. */
  #opened: number | null = null;
  /** The file itself said SET autocommit=0. */
  #manualCommit = false;
  /** The open transaction is not the file's own: it joins a statement with those that read its result. */
  #joined = false;

  constructor(context: StepContext, steps: readonly Step[]) {
    this.#context = context;
    this.#connection = context.lock.connection;
    this.#steps = steps;
  }

  async run(first: number): Promise<void> {
    let attempt = 0;
    for (let number = first; number <= this.#steps.length; ) {
      this.#context.signal.throwIfAborted();
      const step = this.#steps[number - 1];
      if (!step) break;
      this.#context.output.progress({
        label: this.#context.file,
        done: number - 1,
        total: this.#steps.length,
        unit: 'statements',
      });
      try {
        await this.#runStep(step);
        number += 1;
        if (this.#opened === null) attempt = 0;
      } catch (error) {
        const again = await this.#afterFailure(step, error, attempt);
        attempt += 1;
        number = again;
      }
    }
    if (this.#opened !== null) await this.#closeTransaction(this.#steps.length);
  }

  async #runStep(step: Step): Promise<void> {
    if (step.effect === 'autocommit') return await this.#runAutocommit(step);
    if (this.#opened !== null) return await this.#runInTransaction(step);
    switch (step.effect) {
      case 'begin':
        await this.#send(step);
        this.#opened = step.number;
        return;
      case 'definition':
      case 'opaque':
        return await this.#runCommitting(step);
      case 'lock-tables':
        await this.#send(step, addJournalToLocks(this.#connection, step));
        break;
      case 'transactional':
        if (step.class.kind === 'dml' && (this.#context.hasPlainTables || step.class.leavesSchema)) {
          await this.#context.journal.markStarted(step.number, null);
          await this.#connection.run('COMMIT');
        }
        await this.#send(step);
        if (this.#isReadByNext(step)) {
          this.#opened = step.number;
          this.#joined = true;
          return;
        }
        break;
      case 'commit':
      case 'rollback':
      case 'unlock-tables':
        await this.#send(step);
        break;
      default:
        step.effect satisfies never;
    }
    await this.#context.journal.markDone(step.number);
    await this.#connection.run('COMMIT');
    if (this.#manualCommit) this.#opened = step.number + 1;
  }

  /** Marks the step as started in the transaction that its implicit commit ends: the mark lasts exactly if the commit came. */
  async #runCommitting(step: Step): Promise<void> {
    const { journal } = this.#context;
    const before = step.effect === 'definition' ? await snapshotObjects(this.#connection, step.objects) : null;
    await journal.markStarted(step.number, before === null ? null : JSON.stringify(before));
    // Not every opaque statement commits by itself, and what it does may not be undone by ROLLBACK (SET GLOBAL, KILL).
    if (step.effect === 'definition' || !step.class.implicitCommit) await this.#connection.run('COMMIT');
    try {
      await this.#send(step);
    } catch (error) {
      if (before !== null && !this.#connection.lost) {
        const after = await snapshotObjects(this.#connection, step.objects);
        if (after !== null && sameSnapshot(before, after)) {
          await journal.markPending(step.number);
          await this.#connection.run('COMMIT');
        }
      }
      throw error;
    }
    await journal.markDone(step.number);
    await this.#connection.run('COMMIT');
    if (this.#manualCommit) this.#opened = step.number + 1;
  }

  async #runInTransaction(step: Step): Promise<void> {
    switch (step.effect) {
      case 'transactional':
        await this.#send(step);
        if (this.#joined && !this.#isReadByNext(step)) await this.#closeTransaction(step.number);
        return;
      case 'commit':
        await this.#closeTransaction(step.number, step);
        return;
      case 'rollback': {
        const opened = this.#opened ?? step.number;
        await this.#send(step);
        this.#opened = this.#manualCommit ? step.number + 1 : null;
        // The marks are written after it, because ROLLBACK would have taken them along.
        await this.#context.journal.markDone(opened, step.number);
        await this.#connection.run('COMMIT');
        return;
      }
      default:
        // Whatever else commits implicitly: so do we, with the journal's rows in the same transaction.
        await this.#closeTransaction(step.number - 1);
        await this.#runStep(step);
    }
  }

  /** ROW_COUNT(), FOUND_ROWS() and SHOW WARNINGS tell of the statement just before, which a mark must not be. */
  #isReadByNext(step: Step): boolean {
    const next = this.#steps[step.number];
    return next?.effect === 'transactional' && (next.class.readsPreviousResult || readsDiagnostics.test(next.text));
  }

  /** Commits the file's transaction together with the journal's rows up to `last`. */
  async #closeTransaction(last: number, step?: Step): Promise<void> {
    const opened = this.#opened ?? last;
    if (last >= opened) await this.#context.journal.markDone(opened, last);
    if (step) await this.#send(step);
    await this.#connection.run('COMMIT');
    this.#opened = this.#manualCommit && (step || this.#joined) ? last + 1 : null;
    this.#joined = false;
  }

  /** The file's own SET autocommit, after which ours is put back; a value that it reads or restores is the usual 1. */
  async #runAutocommit(step: Step): Promise<void> {
    if (this.#opened !== null) await this.#closeTransaction(step.number - 1);
    if (!this.#manualCommit) await this.#connection.run('SET autocommit=1');
    await this.#send(step);
    const mode = await this.#connection.row('SELECT @@autocommit AS mode');
    await this.#connection.run('SET autocommit=0');
    await this.#context.journal.markDone(step.number);
    await this.#connection.run('COMMIT');
    this.#manualCommit = mode?.['mode'] === '0';
    this.#opened = this.#manualCommit ? step.number + 1 : null;
  }

  async #send(step: Step, text = step.text): Promise<void> {
    const run = () =>
      step.effect === 'definition'
        ? runDefinition(this.#connection, step, this.#context)
        : this.#connection.run(text).then(() => undefined);
    // What cannot be undone is not stopped midway: it would have to be resolved by hand.
    if (step.effect === 'opaque') return await run();
    await runKillable(this.#connection, this.#context.signal, run);
    // A statement may end well and yet not as it should when it is killed (SLEEP gives 1): rows are better rolled back.
    if (step.effect === 'transactional') this.#context.signal.throwIfAborted();
  }

  /** Rolls back and says which step is to be run next, or throws the failure in the user's terms. */
  async #afterFailure(step: Step, error: unknown, attempt: number): Promise<number> {
    const { signal, settings, output, file } = this.#context;
    if (error instanceof AppError && this.#connection.lost) throw error;
    if (this.#connection.lost) throw stepFailure(this.#context, step, error, null);
    await this.#connection.run('ROLLBACK');
    if (signal.aborted) {
      await this.#release();
      throw signal.reason;
    }
    if (error instanceof AppError) {
      await this.#release();
      throw error;
    }
    const fault = classifyFault(error);
    const blockers =
      fault === 'lock-wait' ? await describeBlockers(this.#connection, step.objects, step.class.target) : null;
    if (!passing.has(fault) || attempt >= settings.lockRetries || step.effect === 'opaque') {
      await this.#release();
      throw stepFailure(this.#context, step, error, blockers);
    }
    output.event('warn', 'statement waits for a lock', {
      file,
      statement: step.number,
      line: step.line,
      attempt: attempt + 1,
      of: settings.lockRetries,
      ...(blockers === null ? {} : { blockers: blockers.lines }),
    });
    await delay(Math.min(longestPauseMs, pauseMs * 2 ** attempt), signal);
    const next = this.#opened ?? step.number;
    this.#opened = this.#manualCommit ? next : null;
    this.#joined = false;
    return next;
  }

  /** Leaves the session as the caller may go on with it. */
  async #release(): Promise<void> {
    await this.#connection.run('UNLOCK TABLES');
    await this.#connection.run('SET autocommit=1');
  }
}
