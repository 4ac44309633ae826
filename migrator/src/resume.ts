import type { Migration } from './core/formats/migration.ts';
import { type ClassifiedStatement, resumePlan } from './core/session-state.ts';
import type { Statement } from './core/split-statements.ts';
import { waysToResolve, waysToResolveScript } from './core/unfinished.ts';
import { migrationError } from './errors.ts';
import type { Journal, JournalRow } from './journal.ts';
import { objectKey, type Snapshot, sameSnapshot, snapshotObjects } from './objects.ts';
import { tookEffect } from './replay.ts';
import type { StepContext } from './run-steps.ts';
import type { Step } from './step.ts';
import { placeOf } from './step-failure.ts';

export interface Resume {
  /** Number of the statement to go on with; one more than there are if all were done. */
  readonly first: number;
  /** SET and USE statements to repeat first, in order. */
  readonly replay: readonly Statement[];
}

/**
 * Finds out how far a migration came that was cut off, and whether its rest can run in a new session. The lock that is held
 * meanwhile proves that no orphaned statement of the old session still runs.
 * @throws AppError MIGRATION_UNFINISHED, naming the statement and the ways to resolve it
 */
export async function planResume(context: StepContext, version: string, steps: readonly Step[]): Promise<Resume> {
  const rows = await context.journal.read();
  const behind = rows.findIndex((row) => row.state !== 'done');
  let done = behind === -1 ? rows.length : behind;
  checkUnedited(context, version, rows.slice(0, done), steps);
  const doubtful = rows[done];
  if (doubtful?.state === 'started') {
    const step = sameStep(context, version, doubtful, steps);
    if (await isDone(context, version, doubtful, step)) {
      await context.journal.markDone(step.number);
      done += 1;
    } else await context.journal.markPending(step.number);
  }
  const statements = steps.map(classified);
  const plan = resumePlan(statements, done);
  if (plan.kind === 'back') return resumeFrom(statements, plan.to.index);
  if (plan.kind === 'lost') {
    const needed = steps[plan.neededBy.index];
    const made = steps[plan.madeBy.index];
    throw unfinished(
      version,
      `${place(context, needed)} needs ${plan.what}, which ${place(context, made)} made in a session that is gone`,
      done,
    );
  }
  return { first: done + 1, replay: plan.statements };
}

/**
 * Whether a script that was cut off had finished.
 * @throws AppError MIGRATION_UNFINISHED if a part of it may have taken effect
 */
export async function planScriptResume(journal: Journal, migration: Migration): Promise<boolean> {
  const [row] = await journal.read();
  if (row?.state !== 'started') return row?.state === 'done';
  throw unfinished(
    migration.id,
    `${migration.file} did not finish after a statement of it that commits implicitly, and how far it came cannot be seen`,
    1,
    undefined,
    waysToResolveScript(migration.id),
  );
}

function resumeFrom(statements: readonly ClassifiedStatement[], index: number): Resume {
  const plan = resumePlan(statements, index);
  return { first: index + 1, replay: plan.kind === 'replay' ? plan.statements : [] };
}

function classified(step: Step): ClassifiedStatement {
  return {
    statement: { index: step.number - 1, line: step.line, text: step.text, start: 0, end: step.text.length },
    class: step.class,
  };
}

function place(context: StepContext, step: Step | undefined): string {
  return step ? placeOf(context.file, step) : context.file;
}

/** The statements that were run must still stand in the file as they were. */
function checkUnedited(
  context: StepContext,
  version: string,
  done: readonly JournalRow[],
  steps: readonly Step[],
): void {
  for (const row of done) sameStep(context, version, row, steps);
}

function sameStep(context: StepContext, version: string, row: JournalRow, steps: readonly Step[]): Step {
  const step = steps[row.statement - 1];
  if (step && step.checksum === row.checksum) return step;
  throw unfinished(
    version,
    `${context.file}: statement ${row.statement} was run as "${row.excerpt}" (SHA-256 ${row.checksum.slice(0, 12)}…), but ${step ? `now is another one (${step.checksum.slice(0, 12)}…)` : 'is gone from the file'}`,
    row.statement,
    'Put the statement back as it was run and run it again. Else look at the schema, then run one of:',
  );
}

/** Whether a statement that was sent and never confirmed took effect. */
async function isDone(context: StepContext, version: string, row: JournalRow, step: Step): Promise<boolean> {
  if (step.repeatable) return false;
  const where = placeOf(context.file, step);
  if (step.effect !== 'definition' || row.before === null) {
    throw unfinished(
      version,
      `${where} was cut off, and what it did cannot be seen afterwards: ${row.excerpt}`,
      step.number,
    );
  }
  // The column holds what `snapshotObjects` returned.
  const before = JSON.parse(row.before) as Snapshot;
  const now = await snapshotObjects(context.lock.connection, step.objects);
  if (now !== null && sameSnapshot(before, now)) return false;
  if (now !== null && (await tookEffect(context.lock.connection, step, before, now))) {
    context.output.event('info', 'a statement that was cut off had taken effect', {
      file: context.file,
      statement: step.number,
      line: step.line,
    });
    return true;
  }
  const names = step.objects.map(objectKey).join(', ');
  throw unfinished(
    version,
    `${where} was cut off, and whether ${names} is as it intends cannot be told: ${row.excerpt}`,
    step.number,
  );
}

function unfinished(
  version: string,
  message: string,
  statement: number,
  first = 'Look at the schema, then run one of:',
  ways = waysToResolve(version, statement),
) {
  return migrationError('MIGRATION_UNFINISHED', message, {
    details: { version, statement },
    hint: `${first} ${ways}`,
  });
}
