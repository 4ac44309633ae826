import type { Connection } from '@tableset/common/database/connection.ts';
import { missingOnSchema, readGrants } from '@tableset/common/database/grants.ts';
import { readLedgerFormat } from '@tableset/common/database/ledger.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import { commonError } from '@tableset/common/errors.ts';
import { loadOrder } from '../core/load-order.ts';
import { checkTable, loadKey, publishMode, swapObstacle, swapPrivileges } from '../core/table-rules.ts';
import { isIntegerType } from '../core/values/integer.ts';
import { loaderError } from '../errors.ts';
import { hasArchivedKeys } from './hold-archived.ts';
import type { LoadTask } from './load-tasks.ts';
import type { LoadContext, TableLoad } from './table-load.ts';
import { readTableStates, type TableState } from './table-state.ts';

/** Reads the definitions, refuses what cannot be loaded, and groups linked tables. */
export async function planSets(
  tasks: readonly LoadTask[],
  context: LoadContext,
  schema: string,
): Promise<readonly (readonly TableLoad[])[]> {
  const { connection } = context;
  const grants = await readGrants(connection);
  const seesSchema = missingOnSchema(grants, schema, ['SELECT']).length === 0;
  const missing = missingOnSchema(grants, schema, swapPrivileges(connection.server.flavour));
  const byDefinition = new Map<TableDefinition, LoadTask>();
  for (const each of tasks) {
    const definition = await readTableDefinition(connection, schema, each.task.table);
    if (!definition) throw loaderError('LOAD_TABLE_UNSUITABLE', `${each.task.table} is no base table`);
    checkTable(each.task, definition, seesSchema);
    byDefinition.set(definition, each);
  }
  const order = loadOrder([...byDefinition.keys()]);
  if (!order.ok)
    throw loaderError('LOAD_FOREIGN_KEY_CYCLE', `${order.cycle.join(' → ')} refer to each other in a circle`);
  const states =
    (await readLedgerFormat(connection)) === null
      ? new Map<string, TableState>()
      : await readTableStates(
          connection,
          tasks.map(({ task }) => task.table),
        );
  const taskOf = (definition: TableDefinition) => byDefinition.get(definition);
  const sets: TableLoad[][] = [];
  let ordinal = 0;
  for (const definitions of order.sets) {
    const set: TableLoad[] = [];
    // What refers to archived rows must not come back either, which only the comparison sees.
    const byKey = new Set<TableDefinition>();
    for (const definition of definitions) {
      // The date column is named as soon as anything is archived.
      const state = states.get(taskOf(definition)?.task.table ?? '');
      if (state?.dateColumn && (await hasArchivedKeys(connection, definition))) byKey.add(definition);
    }
    const archived = definitions.some(
      (definition) =>
        byKey.has(definition) || archivedRows(definition, states.get(taskOf(definition)?.task.table ?? '')),
    );
    for (const definition of definitions) {
      const each = taskOf(definition);
      if (each)
        set.push(
          await planTable(
            each,
            definition,
            {
              ordinal: ordinal++,
              linked: definitions.length > 1,
              archived,
              archivedKeys: byKey.has(definition),
              missing,
            },
            states.get(each.task.table),
            context,
          ),
        );
    }
    sets.push(set);
  }
  return sets;
}

async function planTable(
  { task, source }: LoadTask,
  definition: TableDefinition,
  place: {
    readonly ordinal: number;
    readonly linked: boolean;
    readonly archived: boolean;
    readonly archivedKeys: boolean;
    readonly missing: readonly string[];
  },
  state: TableState | undefined,
  context: LoadContext,
): Promise<TableLoad> {
  const { connection } = context;
  const key = loadKey(task, definition);
  const table = quoteTable(definition.schema, definition.name);
  const empty = (await connection.row(`SELECT 1 AS taken FROM ${table} LIMIT 1`)) === null;
  const mode = publishMode(task, definition, { ...place, empty, dryRun: context.dryRun });
  const privilegesDecide = swapObstacle(definition) === null && !place.linked && place.missing.length > 0;
  if (mode === 'direct' && task.publish === 'auto' && privilegesDecide) {
    context.output.event('info', 'not swapped in, for lack of privileges on the schema', {
      table: task.table,
      missing: place.missing,
    });
  }
  if (task.localInfile === 'on' && !connection.server.localInfile) {
    throw commonError('SETTING_INVALID', `${task.table}: localInfile is on, and the server's local_infile is off`, {
      hint: 'Set localInfile to auto, or local_infile=ON on the server.',
    });
  }
  return {
    task,
    definition,
    key,
    source,
    mode,
    ordinal: place.ordinal,
    archived: archivedRows(definition, state),
    archivedKeys: place.archivedKeys,
    localInfile: task.localInfile !== 'off' && connection.server.localInfile,
    rowsBefore: empty ? 0 : await countRows(connection, definition, task.mode === 'mirror', state),
  };
}

/** @throws AppError LOAD_TABLE_UNSUITABLE if it cannot be told which rows were archived */
function archivedRows(definition: TableDefinition, state: TableState | undefined): TableLoad['archived'] {
  if (!state?.archivedBefore || !state.dateColumn) return null;
  const { dateColumn, archivedBefore, archivedBelow } = state;
  const column = definition.columns.find((each) => each.name === dateColumn);
  if (!column || !isIntegerType(column.dataType)) return { dateColumn, before: archivedBefore };
  if (archivedBelow !== null) return { dateColumn, before: BigInt(archivedBelow) };
  throw loaderError(
    'LOAD_TABLE_UNSUITABLE',
    `${definition.name}: rows older than ${archivedBefore} were archived, and the ledger does not say what ${dateColumn} counts`,
    { hint: 'Run loader archive once more, which writes it down with the next batch.' },
  );
}

/** Exact where a guard works in percent of it, else what the server estimates or the ledger remembers. */
async function countRows(
  connection: Connection,
  definition: TableDefinition,
  exact: boolean,
  state: TableState | undefined,
): Promise<number> {
  if (exact)
    return Number(
      (await connection.row(`SELECT COUNT(*) AS count FROM ${quoteTable(definition.schema, definition.name)}`))?.[
        'count'
      ],
    );
  if (connection.server.flavour === 'mysql') await connection.run('SET SESSION information_schema_stats_expiry = 0');
  const row = await connection.row(
    'SELECT TABLE_ROWS AS estimate FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?',
    [definition.schema, definition.name],
  );
  return Math.max(1, Number(row?.['estimate'] ?? 0), Number(state?.rowCount ?? 0));
}
