import { textTable } from '@tableset/common/output/table.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import type { StatusOutcome, TableStatus } from '../catalogue/run-status.ts';
import { statusSettingTable } from '../settings-archive.ts';
import { sessionRequest } from './archive-request.ts';
import { readConfigFile } from './config-file.ts';
import { rowFilter } from './restore.ts';

export const status = defineVerb({
  name: 'status',
  meaning: 'Say what is archived where, what waits, and how the last runs ended. Takes no lock and writes nothing.',
  usage: '[--config F] [--table T …] [--key KEY=VALUE …] [--from DATE] [--to DATE] [--unverified]',
  positionals: [0, 0],
  report: true,
  settings: statusSettingTable,
  readFile: readConfigFile,
  async run(context): Promise<VerbResult> {
    const { values } = context;
    const { runStatus } = await import('../catalogue/run-status.ts');
    const result = await runStatus({
      ...(await sessionRequest(context, values.table)),
      filter: await rowFilter(values.key, values.from, values.to),
      unverified: values.unverified,
    });
    return { summary: { outcome: 'done', ...result }, lines: describe(result) };
  },
});

function describe(result: StatusOutcome): readonly string[] {
  return [
    ...textTable([
      ['table', 'store', 'batches', 'rows', 'oldest', 'newest', 'unverified', 'waiting'],
      ...result.tables.map(tableCells),
    ]),
    ...refusals(result.tables),
    ...section('under way, or left by a run that ended', unfinishedLines(result)),
    ...section('shards', shardLines(result)),
    ...section('batches', batchLines(result)),
    ...section(
      'on the primary',
      (result.onPrimary ?? []).map(
        ({ table, rows }) =>
          `${table}: ${rows === 0 ? 'no such row' : rows === 1 ? 'the row is there' : `${rows} such rows`}`,
      ),
    ),
    ...section(
      'last runs',
      result.runs.length === 0
        ? []
        : textTable([
            ['run', 'kind', 'started', 'outcome', ''],
            ...result.runs.map(({ run, kind, startedAt, outcome, error }) => [
              run,
              kind,
              startedAt.slice(0, 19),
              outcome ?? 'running',
              error?.split('\n')[0] ?? '',
            ]),
          ]),
    ),
    ...section(
      'loaded',
      result.freshness.length === 0
        ? []
        : textTable([
            ['table', 'loaded', 'age (s)', 'rows'],
            ...result.freshness.map(({ table, loadedAt, ageSeconds, rows }) => [
              table,
              loadedAt?.slice(0, 19) ?? '',
              ageSeconds ?? '',
              rows ?? '',
            ]),
          ]),
    ),
  ];
}

function tableCells(each: TableStatus): readonly (string | number)[] {
  const { waiting } = each;
  const open = Object.entries(each.batches).filter(([state]) => !['deleted', 'removed', 'purged'].includes(state));
  const batches = [String(each.batches['deleted'] ?? 0), ...open.map(([state, count]) => `${count} ${state}`)];
  return [
    each.table,
    each.store,
    batches.join(', '),
    each.rows,
    each.oldest?.slice(0, 19) ?? '',
    each.newest?.slice(0, 19) ?? '',
    each.unverified,
    waiting === null
      ? each.enabled
        ? ''
        : 'not enabled'
      : 'refused' in waiting
        ? 'refused'
        : `${waiting.more ? 'over ' : ''}${waiting.rows}`,
  ];
}

function refusals(tables: readonly TableStatus[]): readonly string[] {
  return tables.flatMap(({ table, waiting }) =>
    waiting !== null && 'refused' in waiting ? [`✗ ${table} cannot be archived: ${waiting.refused}`] : [],
  );
}

function unfinishedLines({ unfinished }: StatusOutcome): readonly string[] {
  if (unfinished.length === 0) return [];
  const header = ['batch', 'table', 'store', 'state', 'shard', 'rows', 'since', 'last change'];
  const rows = unfinished.map(({ batch, table, store, state, shard, rows: count, createdAt, changedAt }) => [
    batch,
    table,
    store,
    state,
    shard ?? '',
    count ?? '',
    createdAt.slice(0, 19),
    changedAt.slice(0, 19),
  ]);
  return textTable([header, ...rows]);
}

/** Keys after the first, up to the second, that one included. */
function shardLines({ shards }: StatusOutcome): readonly string[] {
  if (shards.length === 0) return [];
  const key = (cells: readonly string[] | null) => (cells === null ? '…' : cells.join(', '));
  const header = ['table', 'shard', 'after', 'up to', 'state', 'worker', 'batches', 'last change'];
  const rows = shards.map(({ table, shard, after, last, state, worker, alive, batches, changedAt }) => [
    table,
    shard,
    key(after),
    key(last),
    state,
    worker === null ? '' : alive === false ? `${worker}, which is dead` : worker,
    batches,
    changedAt.slice(0, 19),
  ]);
  return textTable([header, ...rows]);
}

function batchLines({ batches, moreBatches }: StatusOutcome): readonly string[] {
  if (batches.length === 0) return [];
  const header = ['batch', 'table', 'store', 'state', 'rows', 'oldest', 'newest', 'verified', 'found'];
  const rows = batches.map((each) => [
    each.batch,
    each.table,
    each.store,
    each.state,
    each.totalRows ?? '',
    each.oldest?.slice(0, 19) ?? '',
    each.newest?.slice(0, 19) ?? '',
    each.verifiedAt?.slice(0, 19) ?? '',
    each.found ?? '',
  ]);
  return [...textTable([header, ...rows]), ...(moreBatches ? ['and more'] : [])];
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ['', title, ...lines];
}
