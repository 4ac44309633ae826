import type { Connection } from '@tableset/common/database/connection.ts';
import { exitCodes } from '@tableset/common/exit-codes.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { textTable } from '@tableset/common/output/table.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import { estimateRows } from '../alter-table.ts';
import type { Migration } from '../core/formats/migration.ts';
import { planUp } from '../core/plan.ts';
import { plannedRow, readHistory } from '../history.ts';
import { type OpenTarget, type Target, withTarget } from '../open-target.ts';
import { inScratchSchema, scratchPrefix } from '../scratch.ts';
import { resetSession } from '../session.ts';
import { type Step, stepOf } from '../step.ts';
import { makeStructure, readStructure } from './structural-copy.ts';
import { type Trial, tryStatement } from './try-statements.ts';

export interface PlanSettings {
  readonly target: Target;
  readonly outOfOrder: boolean;
  readonly lockTimeoutSeconds: number;
}

interface PlannedStatement {
  readonly file: string;
  readonly step: Step | null;
  readonly trial: Trial | null;
  /** About how many rows the table has that an ALTER would copy; null where nothing is copied. */
  readonly copiesRows: number | null;
}

/**
 * `migrator plan`: what each pending statement would do, tried on an empty copy of the schema. Changes nothing in the schema
 * itself and takes no lock. Exit 3 if a statement fails on the copy.
 */
export async function planPending(settings: PlanSettings, output: Output, signal: AbortSignal): Promise<VerbResult> {
  const { lockTimeoutSeconds } = settings;
  return await withTarget(settings.target, { output, signal, lockTimeoutSeconds }, async (opened) => {
    const pending = await pendingOf(opened, settings);
    await resetSession(opened.connection, lockTimeoutSeconds);
    const notes: string[] = [];
    const planned = await tryAll(opened.connection, pending, notes, signal);
    return report(pending, planned, notes);
  });
}

async function pendingOf({ connection, folder }: OpenTarget, settings: PlanSettings): Promise<readonly Migration[]> {
  const history = ((await readHistory(connection)) ?? []).map(plannedRow);
  return planUp(folder, history, { allowOutOfOrder: settings.outOfOrder }).pending;
}

async function tryAll(
  connection: Connection,
  pending: readonly Migration[],
  notes: string[],
  signal: AbortSignal,
): Promise<readonly PlannedStatement[]> {
  const statements = pending.flatMap((migration): readonly { file: string; step: Step | null }[] =>
    migration.kind === 'script'
      ? [{ file: migration.file, step: null }]
      : migration.up().map((statement) => ({ file: migration.file, step: stepOf(statement) })),
  );
  const structure = await readStructure(connection);
  for (const { name, reason } of structure.leftOut) notes.push(`${name} is not in the copy: ${reason}`);
  const trials = await inScratchSchema(connection, async () => {
    for (const { name, reason } of await makeStructure(connection, structure)) {
      notes.push(`${name} is not in the copy: ${reason}`);
    }
    await connection.run('SET SESSION foreign_key_checks=1');
    const tried: Trial[] = [];
    let failed = false;
    for (const { step } of statements) {
      signal.throwIfAborted();
      if (step === null) tried.push({ kind: 'not-planned', reason: 'it is a script' });
      else if (failed) tried.push({ kind: 'not-reached' });
      else tried.push(await tryStatement(connection, step));
      failed ||= tried.at(-1)?.kind === 'failed';
    }
    await connection.run('UNLOCK TABLES');
    return tried;
  });
  if (trials === null) {
    notes.push(
      `nothing was tried: this account may not make schemas named ${scratchPrefix}…; docs/operations.md has the grant`,
    );
  }
  const planned: PlannedStatement[] = [];
  for (const [index, { file, step }] of statements.entries()) {
    const trial = trials?.[index] ?? null;
    planned.push({ file, step, trial, copiesRows: await copiedRows(connection, step, trial) });
  }
  return planned;
}

async function copiedRows(connection: Connection, step: Step | null, trial: Trial | null): Promise<number | null> {
  const table = step?.class.target;
  if (trial?.kind !== 'ran' || trial.algorithm !== 'as written' || table === undefined) return null;
  return await estimateRows(connection, connection.settings.name, table.name);
}

function report(
  pending: readonly Migration[],
  planned: readonly PlannedStatement[],
  notes: readonly string[],
): VerbResult {
  const statements = planned.map(({ file, step, trial, copiesRows }) => ({
    file,
    statement: step?.number ?? null,
    line: step?.line ?? null,
    does: step?.class.verb ?? 'script',
    target: step?.class.target?.name ?? null,
    outcome: trial?.kind ?? 'not-tried',
    ...(trial?.kind === 'ran' && trial.algorithm !== null ? { algorithm: trial.algorithm } : {}),
    ...(copiesRows === null ? {} : { copiesRows }),
    ...(trial?.kind === 'failed' ? { errno: trial.errno, error: trial.error } : {}),
    ...(trial?.kind === 'not-planned' ? { reason: trial.reason } : {}),
  }));
  const failed = planned.some(({ trial }) => trial?.kind === 'failed');
  const rows = statements.map((one) => [
    one.line === null ? one.file : `${one.file}:${one.line}`,
    `${one.does} ${one.target ?? ''}`.trim(),
    one.outcome,
    one.algorithm === undefined
      ? ''
      : one.algorithm + (one.copiesRows === undefined ? '' : `, about ${one.copiesRows} rows`),
    one.error ?? one.reason ?? '',
  ]);
  return {
    summary: { outcome: failed ? 'refused' : 'done', pending: pending.length, statements, notes },
    lines: [
      ...(rows.length === 0
        ? ['nothing is pending']
        : textTable([['where', 'does', 'on the copy', 'way', 'because'], ...rows])),
      ...notes,
    ],
    ...(failed ? { exit: exitCodes.refused } : {}),
  };
}
