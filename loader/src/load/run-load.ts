import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings, LockSettings } from '@tableset/common/settings/database.ts';
import type { LoadConfig, LoadTable } from '../config/load-config.ts';
import { createSource, type SourceContext } from '../sources/source.ts';
import type { Webhooks } from '../webhooks/webhooks.ts';
import type { DryRunTable } from './dry-run.ts';
import type { LoadTask } from './load-tasks.ts';
import { quickChangedTasks } from './quick-check.ts';
import { noCounts, type TableCounts } from './table-counts.ts';

export interface LoadRequest {
  readonly config: LoadConfig;
  /** Tables of the configuration to load, in its order. */
  readonly tasks: readonly LoadTable[];
  readonly database: DatabaseSettings;
  readonly lock: LockSettings;
  readonly ifChanged: boolean;
  readonly dryRun: boolean;
  readonly trigger: string;
  readonly version: string;
  readonly sources: SourceContext;
  readonly output: Output;
  readonly signal: AbortSignal;
}

export interface LoadOutcome {
  readonly outcome: 'done' | 'skipped';
  readonly tables: readonly TableCounts[];
  /** What a dry run found, by table. */
  readonly changes?: readonly DryRunTable[];
}

/**
 * Loads the tables: finds what is to be done, takes the lock, publishes each set of linked tables whole or not at all, writes the ledger, and
 * tells the webhooks of changes after their commit.
 * @throws AppError with `details.summary`, the counts of the tables that were published before it.
 */
export async function runLoad(request: LoadRequest): Promise<LoadOutcome> {
  const { signal } = request;
  const webhooks = await configuredWebhooks(request);
  const tasks: LoadTask[] = [];
  for (const task of request.tasks) tasks.push({ task, source: await createSource(task, request.sources) });
  const changed = request.ifChanged ? await quickChangedTasks(tasks, request.database, signal) : tasks;
  if (changed?.length === 0) return { outcome: 'done', tables: tasks.map(({ task }) => untouched(task.table)) };
  // Most starts of a pod end above: what they do not need is not imported until here.
  const { loadConnected } = await import('./load-connected.ts');
  return await loadConnected(tasks, changed, webhooks, request);
}

/** A table that `--if-changed` left alone. */
export function untouched(table: string): TableCounts {
  return { ...noCounts(table), untouched: true };
}

/** Null where nobody is to be told: what sends webhooks takes long to import. */
async function configuredWebhooks({ config, dryRun, output }: LoadRequest): Promise<Webhooks | null> {
  if (dryRun || config.webhooks.length === 0) return null;
  const { openWebhooks } = await import('../webhooks/webhooks.ts');
  return openWebhooks(config.webhooks, {
    warn: (message, fields) => output.event('warn', message, fields),
    guard: null,
  });
}
