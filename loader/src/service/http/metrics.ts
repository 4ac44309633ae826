import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { RunListener, ServiceContext } from '../contracts.ts';
import type { Facts } from '../facts.ts';

/** Counts that a summary may have for a table, in whatever task. */
const rowOutcomes = [
  'inserted',
  'updated',
  'deleted',
  'unchanged',
  'rejected',
  'held',
  'archived',
  'purged',
  'restored',
  'verified',
] as const;

export interface Metrics {
  readonly listener: RunListener;
  readonly contentType: string;
  text(service: ServiceContext): Promise<string>;
}

/** Counters are of this replica since it started; gauges are what the ledger says now. */
export function openMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Gauge({ name: `tableset_${name}`, help, labelNames: [...labelNames], registers });
  const rows = new Counter({
    name: 'tableset_rows_total',
    help: 'Rows by what became of them.',
    labelNames: ['task', 'table', 'outcome'],
    registers,
  });
  const runs = new Counter({
    name: 'tableset_runs_total',
    help: 'Runs that ended, by state.',
    labelNames: ['task', 'state'],
    registers,
  });
  const durations = new Histogram({
    name: 'tableset_run_duration_seconds',
    help: 'How long runs took, waiting for locks included.',
    labelNames: ['task', 'state'],
    buckets: [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400],
    registers,
  });
  const gauges = {
    build: gauge('build_info', 'Version of the program.', ['version']),
    started: gauge('start_time_seconds', 'When the service started.'),
    memory: gauge('resident_memory_bytes', 'Memory of the process.'),
    leader: gauge('leader', '1 on the replica that schedules.'),
    config: gauge('config_valid', '0 while the configuration file holds what is not taken.'),
    reachable: gauge('database_reachable', '1 while the ledger can be read.'),
    waiting: gauge('queue_waiting', 'Runs that wait.'),
    size: gauge('queue_size', 'Runs that may wait.'),
    running: gauge('runs_running', 'Runs that have begun and not ended.'),
    freshness: gauge('freshness_seconds', 'Seconds since the source of a table was last compared.', ['table']),
    tableRows: gauge('table_rows', 'Rows of a table after its last load.', ['table']),
    failures: gauge('failures_since_success', 'Runs of a task that failed since its last success.', ['task']),
    success: gauge('last_success_timestamp_seconds', 'When a task last succeeded.', ['task']),
    notices: gauge('webhook_notices_waiting', 'Notices for webhooks that are still to be told.'),
    deadLetters: gauge('webhook_dead_letters', 'Notices for webhooks that were given up and can be replayed.'),
    drill: gauge('last_verified_restore_timestamp_seconds', 'When a restored sample was last found equal.'),
  };

  return {
    contentType: registry.contentType,
    listener({ kind, run }) {
      if (kind !== 'ended') return;
      const { task, state, summary } = run;
      runs.inc({ task, state });
      if (run.startedAt && run.finishedAt)
        durations.observe({ task, state }, (Date.parse(run.finishedAt) - Date.parse(run.startedAt)) / 1000);
      for (const counts of summary?.tables ?? []) {
        for (const outcome of rowOutcomes) {
          const count = counts[outcome];
          if (typeof count === 'number' && count > 0)
            rows.inc({ task, table: String(counts['table']), outcome }, count);
        }
      }
    },
    async text(service) {
      const facts = await service.facts.read().catch(() => null);
      gauges.build.set({ version: service.version }, 1);
      gauges.started.set(service.startedAt.getTime() / 1000);
      gauges.memory.set(process.memoryUsage.rss());
      gauges.leader.set(service.leadership.leader ? 1 : 0);
      gauges.config.set(service.configFile.problem === null ? 1 : 0);
      gauges.reachable.set(facts ? 1 : 0);
      gauges.size.set(service.settings.queueSize);
      if (facts) setFacts(facts);
      return await registry.metrics();
    },
  };

  function setFacts(facts: Facts): void {
    gauges.waiting.set(facts.counts.queued);
    gauges.running.set(facts.counts.running);
    gauges.notices.set(facts.webhooks.waiting);
    gauges.deadLetters.set(facts.webhooks.dead);
    gauges.freshness.reset();
    gauges.tableRows.reset();
    for (const { table, ageSeconds, rows: count } of facts.tables) {
      if (ageSeconds !== null) gauges.freshness.set({ table }, ageSeconds);
      if (count !== null) gauges.tableRows.set({ table }, count);
    }
    for (const [task, { failuresSinceSuccess, lastSuccessAt }] of Object.entries(facts.tasks)) {
      gauges.failures.set({ task }, failuresSinceSuccess);
      if (lastSuccessAt !== null) gauges.success.set({ task }, Date.parse(lastSuccessAt) / 1000);
    }
    if (facts.lastVerifiedRestoreAt !== null) gauges.drill.set(Date.parse(facts.lastVerifiedRestoreAt) / 1000);
  }
}
