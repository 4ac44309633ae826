import { commonError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { registerSecret } from '@tableset/common/output/redact.ts';
import type { ArchiveTask } from '../config/archive-config.ts';
import type { LoadConfig } from '../config/load-config.ts';
import { programVersion } from '../version.ts';
import { asAppError } from './run-error.ts';
import type { RunResult, RunSpec, RunSummary } from './run-types.ts';

/**
 * Does one run to its end, as the verb of the same name would, and says how it ended. Never throws. Webhooks are not told: the service tells them
 * from the summary.
 * @param stoppedFor why `signal` fired
 */
export async function executeTask(
  spec: RunSpec,
  output: Output,
  signal: AbortSignal,
  stoppedFor: () => 'cancelled' | 'shutdown',
): Promise<RunResult> {
  const started = performance.now();
  const seconds = () => Math.round(performance.now() - started) / 1000;
  try {
    registerSecret(spec.database.password);
    for (const secret of Object.values(spec.env)) registerSecret(secret);
    const { validateConfig } = await import('../config/read.ts');
    const config = await validateConfig(spec.configText, spec.configPath, { ...process.env, ...spec.env });
    const { outcome, ...rest } = await taskSummary(spec, { ...config, webhooks: [] }, output, signal);
    return { state: 'done', summary: { outcome, seconds: seconds(), ...rest } };
  } catch (thrown) {
    const error = asAppError(thrown);
    if (error.code === 'STOPPED' && stoppedFor() === 'shutdown') return { state: 'stopped' };
    const cancelled = error.code === 'STOPPED';
    const { summary: partial } = error.details;
    const tables = typeof partial === 'object' && partial !== null && 'tables' in partial ? partial.tables : [];
    const code = cancelled ? 'SERVICE_RUN_CANCELLED' : error.code;
    return {
      state: cancelled ? 'cancelled' : 'failed',
      error: { code, message: error.message, hint: error.hint, exit: error.exit },
      // Every verb puts its counts there in this shape.
      summary: {
        outcome: cancelled ? 'stopped' : 'failed',
        seconds: seconds(),
        tables: tables as RunSummary['tables'],
      },
    };
  }
}

type Summary = { readonly outcome: string; readonly tables: RunSummary['tables'] } & Readonly<Record<string, unknown>>;

async function taskSummary(spec: RunSpec, config: LoadConfig, output: Output, signal: AbortSignal): Promise<Summary> {
  const { run, database, lock } = spec;
  const common = { config, database, lock, trigger: 'service', version: programVersion, output, signal };
  const { task, options } = run;
  if (task === 'load') {
    const { runLoad } = await import('../load/run-load.ts');
    const result = await runLoad({
      ...common,
      tasks: chosen(config.load, run.tables, 'load'),
      ifChanged: options.ifChanged ?? false,
      dryRun: false,
      sources: {
        databases: config.databases,
        s3: config.s3,
        temporaryDirectory: spec.temporaryDirectory,
        env: process.env,
        warn: (message, fields) => output.event('warn', message, fields),
      },
    });
    return { outcome: result.outcome, tables: fields(result.tables) };
  }
  const tasks = chosen(config.archive, run.tables, 'archive');
  if (task === 'archive') {
    const { runArchive } = await import('../archive/run-archive.ts');
    const enabled = tasks.filter((each) => each.enabled);
    const event = options.key === undefined ? {} : await eventRequest(config, enabled, options.key, database, signal);
    const result = await runArchive({ ...common, tasks: enabled, shards: null, dryRun: false, ...event });
    return { outcome: result.outcome, tables: fields(result.tables) };
  }
  const chosenByName = run.tables !== null;
  if (task === 'purge') {
    const { runPurge } = await import('../purge/run-purge.ts');
    const result = await runPurge({ ...common, tasks, chosen: chosenByName, dryRun: false });
    return { outcome: result.outcome, tables: fields(result.tables) };
  }
  if (task === 'verify') {
    const { runVerify } = await import('../verify/run-verify.ts');
    const drill = options.drill ? { sample: drillSample, schema: null } : null;
    const batch = options.batch ?? null;
    const result = await runVerify({ ...common, tasks, chosen: chosenByName, batch, drill });
    return {
      outcome: result.outcome,
      ...(drill ? { drill: true } : {}),
      tables: fields(result.tables),
      leftovers: result.leftovers,
    };
  }
  task satisfies 'restore';
  return await restoreSummary(spec, tasks, common);
}

/** As `loader verify --drill` has it. */
const drillSample = 3;

/** One row by its key, with its children. */
async function eventRequest(
  config: LoadConfig,
  [task, ...others]: readonly ArchiveTask[],
  key: readonly string[],
  database: RunSpec['database'],
  signal: AbortSignal,
) {
  if (!task || others.length > 0) throw commonError('SETTING_INVALID', 'a key belongs to one table that is enabled');
  const { eventTask } = await import('./api/event-task.ts');
  // Somebody waits for this one row: it is no reason to wait for the night.
  const limits = { ...config.limits, window: null };
  return {
    config: { ...config, limits, webhooks: [] },
    tasks: [await eventTask(task, key, database, signal)],
    byKey: true,
  };
}

async function restoreSummary(
  { run: { options } }: RunSpec,
  tasks: readonly ArchiveTask[],
  common: Omit<
    Parameters<typeof import('../restore/run-restore.ts').runRestore>[0],
    'tasks' | 'task' | 'filter' | 'batch' | 'into' | 'overwrite' | 'allowTriggers' | 'dryRun'
  >,
): Promise<Summary> {
  const [task, ...others] = tasks;
  if (!task || others.length > 0) throw commonError('SETTING_INVALID', 'restore takes one table');
  const [{ runRestore }, { rowFilter }] = await Promise.all([
    import('../restore/run-restore.ts'),
    import('../verbs/restore.ts'),
  ]);
  const filter = await rowFilter(options.where, options.from, options.to);
  if (filter.where.length === 0 && filter.from === null && filter.to === null && options.batch === undefined)
    throw commonError('SETTING_MISSING', 'restore takes what is to come back: where, from and to, or batch');
  const result = await runRestore({
    ...common,
    tasks: [task],
    task,
    filter,
    batch: options.batch ?? null,
    into: null,
    overwrite: options.overwrite ?? false,
    allowTriggers: false,
    dryRun: false,
  });
  return { outcome: result.outcome, tables: fields(result.tables), batches: result.batches };
}

/** @throws AppError SETTING_INVALID for a table that the configuration no longer has */
function chosen<Task extends { readonly table: string }>(
  tasks: readonly Task[],
  names: readonly string[] | null,
  section: string,
): readonly Task[] {
  if (names === null) return tasks;
  for (const name of names) {
    if (!tasks.some((task) => task.table === name))
      throw commonError('SETTING_INVALID', `the configuration does not have ${name} under ${section} any more`);
  }
  return tasks.filter((task) => names.includes(task.table));
}

/** Counts are objects of plain values; they travel between threads and into JSON as they are. */
function fields(tables: readonly object[]): RunSummary['tables'] {
  return tables.map((each) => ({ ...each }));
}
