import { join } from 'node:path';
import type { SchemaLock } from '@tableset/common/database/lock.ts';
import { AppError, withHint } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { Migration } from './core/formats/migration.ts';
import type { Statement } from './core/split-statements.ts';
import { remedyOf, type Unfinished } from './core/unfinished.ts';
import { migrationError } from './errors.ts';
import type { HistoryRow } from './history.ts';
import { type Direction, Journal, type JournalEntry, type MigrationStart } from './journal.ts';
import { planResume, planScriptResume } from './resume.ts';
import { type ExecutionSettings, runSteps, type StepContext } from './run-steps.ts';
import { resetSession } from './session.ts';
import { stepOf } from './step.ts';

export interface MigrationContext {
  readonly lock: SchemaLock;
  readonly settings: ExecutionSettings & { readonly lockTimeoutSeconds: number };
  /** The migrations folder, for scripts. */
  readonly directory: string;
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly runId: string;
  /** Goes into the history: the program's version. */
  readonly appliedBy: string;
}

/**
 * Runs one direction of a migration, or goes on with it where an earlier run was cut off.
 * @param unfinished its row of the history if this direction was begun before
 * @throws AppError naming file, line and statement
 */
export async function runMigration(
  context: MigrationContext,
  migration: Migration,
  direction: Direction,
  unfinished: HistoryRow | null,
): Promise<void> {
  const started = performance.now();
  const { connection } = context.lock;
  const journal = new Journal(context.lock, migration.id);
  await resetSession(connection, context.settings.lockTimeoutSeconds);
  const start: MigrationStart = { migration, direction, runId: context.runId, appliedBy: context.appliedBy };
  const run = migration.kind === 'script' ? runScriptFile : runStatements;
  try {
    await run(context, journal, start, migration, unfinished);
  } catch (error) {
    // Without a connection the journal says enough, and a run that was asked to stop has not failed.
    if (connection.lost || (error instanceof AppError && error.code === 'STOPPED')) throw error;
    // The first error is the one that counts, whatever telling of it comes upon.
    const inDoubt = await recordFailure(journal, error, unfinished).catch(() => null);
    throw inDoubt === null ? error : withRemedy(error, { id: migration.id, label: migration.file, direction, inDoubt });
  }
  await journal.finish(direction, (performance.now() - started) / 1000);
  await resetSession(connection, context.settings.lockTimeoutSeconds);
  const seconds = Math.round(performance.now() - started) / 1000;
  const done = direction === 'up' ? 'migration applied' : 'migration reverted';
  context.output.event('info', done, { file: migration.file, seconds });
}

/** @returns whether a statement was sent of which nobody knows whether it took effect */
async function recordFailure(journal: Journal, error: unknown, unfinished: HistoryRow | null): Promise<boolean> {
  // What it failed with says more than that it cannot be gone on with.
  const isKnown = isUnfinished(error) && unfinished !== null && unfinished.error !== null;
  if (!isKnown) await journal.fail(messageOf(error));
  return await journal.isInDoubt();
}

function isUnfinished(error: unknown): boolean {
  return error instanceof AppError && error.code === 'MIGRATION_UNFINISHED';
}

/** The error with what the next run will need, known from how the journal was left. */
function withRemedy(error: unknown, unfinished: Omit<Unfinished, 'error'>): unknown {
  if (!(error instanceof AppError)) return error;
  const remedy = remedyOf(unfinished);
  // The ways to resolve a `down` read the other way round, and what found it does not know the direction.
  if (isUnfinished(error)) return unfinished.direction === 'down' ? withHint(error, remedy) : error;
  const isPlain = error.code === 'MIGRATION_STATEMENT_FAILED' || error.code === 'MIGRATION_SCRIPT_FAILED';
  // Other errors have their own remedy, after which the next run goes on by itself unless something is in doubt.
  if (isPlain) return withHint(error, remedy);
  return unfinished.inDoubt ? withHint(error, `${error.hint} ${remedy}`) : error;
}

async function runStatements(
  context: MigrationContext,
  journal: Journal,
  start: MigrationStart,
  migration: Migration,
  unfinished: HistoryRow | null,
): Promise<void> {
  const { lock } = context;
  const statements = statementsOf(migration, start.direction);
  const steps = statements.map(stepOf);
  const stepContext: StepContext = {
    lock,
    journal,
    file: migration.file,
    settings: context.settings,
    output: context.output,
    signal: context.signal,
    hasPlainTables: await hasPlainTables(lock),
  };
  if (unfinished === null) {
    await journal.begin(start, steps);
    return await runSteps(stepContext, steps, 1);
  }
  const resume = await planResume(stepContext, migration.id, steps);
  await journal.resume(start, resume.first, steps);
  tellResume(context, migration, resume.first, steps.length);
  for (const statement of resume.replay) await lock.connection.run(statement.text);
  await runSteps(stepContext, steps, resume.first);
}

function statementsOf(migration: Migration, direction: Direction): readonly Statement[] {
  if (direction === 'up') return migration.up();
  if (migration.down) return migration.down();
  throw migrationError('MIGRATION_DOWN_MISSING', `${migration.file} has no down part`);
}

/** A script is one step of the journal: what it did is known as a whole or not at all. */
async function runScriptFile(
  context: MigrationContext,
  journal: Journal,
  start: MigrationStart,
  migration: Migration,
  unfinished: HistoryRow | null,
): Promise<void> {
  const [{ loadScript }, { runScript }] = await Promise.all([
    import('./scripts/load-script.ts'),
    import('./scripts/run-script.ts'),
  ]);
  const script = await loadScript(join(context.directory, migration.file), migration.file);
  const text = `script ${migration.file} ${start.direction}`;
  const entries: JournalEntry[] = [{ number: 1, line: 1, checksum: migration.checksum, text }];
  if (unfinished === null) await journal.begin(start, entries);
  else {
    const isDone = await planScriptResume(journal, migration);
    await journal.resume(start, isDone ? 2 : 1, entries);
    tellResume(context, migration, isDone ? 2 : 1, 1);
    if (isDone) return;
  }
  await runScript({ ...context, journal }, migration.file, script, start.direction);
}

function tellResume(context: MigrationContext, migration: Migration, statement: number, of: number): void {
  context.output.event('info', 'going on with an unfinished migration', { file: migration.file, statement, of });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether the schema has tables whose changes ROLLBACK does not undo. */
async function hasPlainTables(lock: SchemaLock): Promise<boolean> {
  const row = await lock.connection.row(
    "SELECT 1 AS found FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_TYPE = 'BASE TABLE' AND ENGINE <> 'InnoDB' LIMIT 1",
    [lock.connection.settings.name],
  );
  return row !== null;
}
