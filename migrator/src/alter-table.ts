import type { Connection } from '@tableset/common/database/connection.ts';
import { serverErrno } from '@tableset/common/database/errno.ts';
import { isSymbolAt, isWordAt, type SqlWord, sqlWords } from './core/sql-words.ts';
import { migrationError } from './errors.ts';
import type { StepContext } from './run-steps.ts';
import type { Step } from './step.ts';
import { placeOf } from './step-failure.ts';

/** How an ALTER TABLE was done. `as written` leaves it to the server, which then copies the table, or to the statement itself. */
export type Algorithm = (typeof ladder)[number]['algorithm'] | 'as written';

/** From the cheapest: INSTANT changes the definition alone, INPLACE lets writers through, then at least readers. */
const ladder = [
  { algorithm: 'INSTANT', clause: 'ALGORITHM=INSTANT' },
  { algorithm: 'INPLACE', clause: 'ALGORITHM=INPLACE, LOCK=NONE' },
  { algorithm: 'INPLACE with writers locked out', clause: 'ALGORITHM=INPLACE' },
] as const;

/**
 * The server cannot do it this way: 1845 and 1846 unsupported algorithm or lock, 4092 no row versions left for INSTANT,
 * 1064 and 1221 clauses that take no ALGORITHM (partitions, ORDER BY), 1235 not yet, 1031 and 1478 the engine cannot.
 */
const unsupported: ReadonlySet<number> = new Set([1845, 1846, 4092, 1064, 1221, 1235, 1031, 1478]);
const notParsed: ReadonlySet<number> = new Set([1064, 1221]);

type AlterContext = Pick<StepContext, 'settings' | 'output' | 'file'>;

/**
 * Runs a definition. An ALTER TABLE that leaves the choice to the server is tried in the cheapest way first, and before
 * it may copy the table, the table's rows are held against the budget.
 * @throws AppError MIGRATION_OVER_BUDGET; else what the server said
 */
export async function runDefinition(connection: Connection, step: Step, context: AlterContext): Promise<void> {
  if (step.class.verb !== 'ALTER TABLE') {
    await connection.run(step.text);
    return;
  }
  tell(context, step, await alterCheapest(connection, step.text, () => checkBudget(connection, step, context)));
}

/** Runs an ALTER TABLE in the cheapest way that the server knows. @param beforeCopy called before it may copy the table */
export async function alterCheapest(
  connection: Connection,
  text: string,
  beforeCopy: () => Promise<void> = async () => {},
): Promise<Algorithm> {
  const words = sqlWords(text);
  if (chosenAlgorithm(words) === null) {
    let understood = false;
    for (const { algorithm, clause } of ladder) {
      const errno = await attempt(connection, `${text}\n, ${clause}`);
      if (errno === null) return algorithm;
      if (notParsed.has(errno)) break;
      understood = true;
    }
    // Of what takes no ALGORITHM, only the clauses that write every row anew copy the table.
    if (understood || rewritesRows(words)) await beforeCopy();
  } else if (chosenAlgorithm(words) === 'COPY') await beforeCopy();
  await connection.run(text);
  return 'as written';
}

async function attempt(connection: Connection, text: string): Promise<number | null> {
  try {
    await connection.run(text);
    return null;
  } catch (error) {
    const errno = serverErrno(error);
    if (errno !== null && unsupported.has(errno)) return errno;
    throw error;
  }
}

/** The algorithm that the statement asks for; '' if it only asks for a LOCK; null if it asks for neither. */
function chosenAlgorithm(words: readonly SqlWord[]): string | null {
  for (let index = 3; index < words.length; index += 1) {
    const value = words[isSymbolAt(words, index + 1, '=') ? index + 2 : index + 1]?.value ?? '';
    if (isWordAt(words, index, 'ALGORITHM') && /^(DEFAULT|INSTANT|INPLACE|NOCOPY|COPY)$/.test(value)) return value;
    if (isWordAt(words, index, 'LOCK') && /^(DEFAULT|NONE|SHARED|EXCLUSIVE)$/.test(value)) return '';
  }
  return null;
}

function rewritesRows(words: readonly SqlWord[]): boolean {
  return words.some(
    (_, index) =>
      isWordAt(words, index, 'REORGANIZE', 'COALESCE', 'REBUILD', 'PARTITIONING') ||
      (isWordAt(words, index, 'PARTITION', 'ORDER') && isWordAt(words, index + 1, 'BY')),
  );
}

function tell(context: AlterContext, step: Step, algorithm: string): void {
  context.output.event('info', 'table altered', {
    file: context.file,
    statement: step.number,
    table: step.class.target?.name ?? null,
    algorithm,
  });
}

async function checkBudget(connection: Connection, step: Step, context: AlterContext): Promise<void> {
  const { budgetRows } = context.settings;
  const { target } = step.class;
  if (budgetRows === undefined || target === undefined) return;
  const rows = await estimateRows(connection, target.schema ?? null, target.name);
  if (rows <= budgetRows) return;
  throw migrationError(
    'MIGRATION_OVER_BUDGET',
    `${placeOf(context.file, step)} would copy table ${target.name} of about ${rows} rows; MIGRATIONS_DDL_BUDGET_ROWS allows ${budgetRows}`,
    {
      details: { file: context.file, statement: step.number, table: target.name, rows, budgetRows },
      hint: `Run \`migrator up\` by hand in a maintenance window with MIGRATIONS_DDL_BUDGET_ROWS=${rows * 2}, or change ${target.name} with an online schema change tool and then \`migrator resolve VERSION --as applied\`.`,
    },
  );
}

/** About how many rows a table has, by the engine's own statistics rather than MySQL's copy of them, which may be a day old. */
export async function estimateRows(connection: Connection, schema: string | null, table: string): Promise<number> {
  if (connection.server.flavour === 'mysql') await connection.run('SET SESSION information_schema_stats_expiry=0');
  const row = await connection.row(
    'SELECT TABLE_ROWS AS estimate FROM information_schema.TABLES WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ?',
    [schema, table],
  );
  return Number(row?.['estimate'] ?? 0);
}
