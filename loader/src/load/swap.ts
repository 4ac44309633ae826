import { createHash } from 'node:crypto';
import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import type { SchemaLock } from '@tableset/common/database/lock.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import { withoutCounter } from '@tableset/common/database/read-table.ts';
import { type LoadTarget, targetTable } from '../core/load-sql.ts';
import { loaderError } from '../errors.ts';
import { duplicateCheck } from './duplicates.ts';
import type { Published } from './publish.ts';
import { type LoadContext, noCounts, readSource, type TableLoad } from './table-load.ts';
import { type RowBlock, TableWriter } from './table-writer.ts';

/** Names of a table's staging tables start with this; anything else of the kind was left by a run that died. */
export const stagePrefix = 'tableset_stage_';
const oldPrefix = `${stagePrefix}old_`;

/** Two streams: a third gains nothing, since inserting into one table is what the server is busy with. */
const streams = 2;

/**
 * Fills an empty table by way of a staging table: rows by two streams into the primary key alone, then the other indexes, then
 * RENAME. The table is seen empty until then and whole from then on.
 */
export async function loadBySwap(load: TableLoad, lock: SchemaLock, context: LoadContext): Promise<Published> {
  const { connection } = context;
  const suffix = createHash('sha256').update(load.definition.name).digest('hex').slice(0, 16);
  const stage = quoteIdentifier(`${stagePrefix}${suffix}`);
  const old = quoteIdentifier(`${oldPrefix}${suffix}`);
  await connection.run(`DROP TABLE IF EXISTS ${stage}`);
  await connection.run(`CREATE TABLE ${stage} LIKE ${quoteIdentifier(load.definition.name)}`);
  const indexes = await dropIndexes(connection, stage, load);
  try {
    const { pass, written, duplicates } = await fillStage(load, context, stage);
    if (!pass)
      return {
        counts: noCounts(load.task.table),
        pass: null,
        rowCount: 0,
      };
    context.output.event('debug', 'adding indexes', { table: load.task.table, indexes: indexes.length });
    if (indexes.length > 0) {
      await connection.run(`ALTER TABLE ${stage} ${indexes.map((line) => `ADD ${line}`).join(', ')}`).catch((error) => {
        throw error instanceof Error && 'errno' in error && error.errno === 1062
          ? loaderError('LOAD_UNIQUE_CONFLICT', `${load.task.table}: ${error.message}`, { cause: error })
          : error;
      });
    }
    await checkStage(connection, stage, load, written);
    await lock.assertHeld();
    await connection.uninterrupted(() => rename(connection, load, pass.target, stage, old));
    const counts = {
      table: load.task.table,
      read: pass.read,
      inserted: written,
      updated: 0,
      deleted: 0,
      unchanged: duplicates,
      rejected: pass.rejected,
      held: 0,
    };
    return { counts: { ...counts, publish: 'swap' }, pass, rowCount: written };
  } finally {
    if (!connection.lost) {
      const drop = () => connection.run(`DROP TABLE IF EXISTS ${stage}`);
      await connection.uninterrupted(drop).catch(() => connection.destroy());
    }
  }
}

/** Drops every index but the primary key; returns their lines as SHOW CREATE TABLE prints them. */
async function dropIndexes(connection: Connection, stage: string, load: TableLoad): Promise<readonly string[]> {
  const lines = load.definition.createStatement
    .split('\n')
    .map((line) => /^ {2}((?:UNIQUE |FULLTEXT |SPATIAL )?KEY `(?:[^`]|``)+`.*?),?$/.exec(line)?.[1])
    .filter((line) => line !== undefined);
  // An AUTO_INCREMENT column must stay the first of some index.
  const counter = load.definition.columns.find((column) => column.autoIncrement)?.name;
  const droppable = lines.filter(
    (line) => counter === undefined || load.key.includes(counter) || !line.includes(quoteIdentifier(counter)),
  );
  const kept = droppable.filter((line) => indexName(line) !== '');
  if (kept.length > 0)
    await connection.run(`ALTER TABLE ${stage} ${kept.map((line) => `DROP INDEX ${indexName(line)}`).join(', ')}`);
  return kept;
}

function indexName(line: string): string {
  return /KEY (`(?:[^`]|``)+`)/.exec(line)?.[1] ?? '';
}

async function fillStage(load: TableLoad, context: LoadContext, stage: string) {
  const { connection, signal } = context;
  const options = { signal, localInfile: load.localInfile, lockWaitSeconds: 60 };
  await using second = await connect(connection.settings, options);
  const connections = [connection, second].slice(0, streams);
  const writers: TableWriter[] = [];
  const running: Promise<void>[] = connections.map(() => Promise.resolve());
  let next = 0;
  try {
    const pass = await readSource(load, context, `load ${load.task.table}`, {
      begin: async (target, _plan, onReject) => {
        for (const each of connections) {
          const onDuplicate = duplicateCheck(each, target, stage);
          writers.push(
            new TableWriter({
              connection: each,
              table: stage,
              name: load.task.table,
              localInfile: load.localInfile,
              inTransaction: false,
              onReject,
              onDuplicate,
            }),
          );
        }
      },
      // Chunks go to the writers in turn; each waits only for its own last one.
      write: async (chunk) => {
        const index = next++ % connections.length;
        await running[index];
        running[index] = writeAndRelease(writers[index], chunk);
        running[index].catch(() => {
          // It is awaited before the writer's next chunk and at the end; this only keeps it from counting as unhandled.
        });
      },
    });
    await Promise.all(running);
    return { pass, written: sum(writers, 'written'), duplicates: sum(writers, 'duplicates') };
  } finally {
    await Promise.allSettled(running);
  }
}

async function writeAndRelease(writer: TableWriter | undefined, chunk: RowBlock & { release(): void }): Promise<void> {
  await writer?.write(chunk);
  chunk.release();
}

function sum(writers: readonly TableWriter[], count: 'written' | 'duplicates'): number {
  return writers.reduce((total, writer) => total + writer[count], 0);
}

/** The staging table must hold exactly the rows that were written and be defined exactly as the table that it replaces. */
async function checkStage(connection: Connection, stage: string, load: TableLoad, written: number): Promise<void> {
  const counted = Number((await connection.row(`SELECT COUNT(*) AS count FROM ${stage}`))?.['count']);
  if (counted !== written)
    throw loaderError(
      'LOAD_COUNTS_DIFFER',
      `${load.task.table}: ${written} rows were written and ${counted} are staged`,
    );
  const created = await connection.row(`SHOW CREATE TABLE ${stage}`);
  const body = (statement: string) =>
    statement
      .slice(statement.indexOf('('))
      .split('\n')
      .map((line) => line.replace(/,$/, ''))
      .toSorted()
      .join('\n');
  if (body(withoutCounter(String(created?.['Create Table']))) !== body(load.definition.createStatement)) {
    throw loaderError('LOAD_COUNTS_DIFFER', `${load.task.table}: the staging table is not defined as the table is`, {
      hint: 'Set publish: direct for this table, and report its definition.',
    });
  }
}

/**
 * Swaps the staging table in. MySQL does it under LOCK TABLES, so that no row can slip in between the check and the RENAME. MariaDB
 * refuses RENAME there (1192): it is checked just before, and the table that was renamed away is only dropped if it is still empty.
 */
async function rename(
  connection: Connection,
  load: TableLoad,
  target: LoadTarget,
  stage: string,
  old: string,
): Promise<void> {
  const table = targetTable(target);
  const locks = connection.server.flavour === 'mysql';
  if (locks) await connection.run(`LOCK TABLES ${table} WRITE, ${stage} WRITE`);
  try {
    await checkEmpty(connection, table, load);
    await connection.run(`RENAME TABLE ${table} TO ${old}, ${stage} TO ${table}`);
  } finally {
    if (locks && !connection.lost) await connection.run('UNLOCK TABLES');
  }
  if (await connection.row(`SELECT 1 AS taken FROM ${old} LIMIT 1`)) {
    await connection.run(`RENAME TABLE ${table} TO ${stage}, ${old} TO ${table}`);
    throw loaderError(
      'LOAD_TABLE_CHANGED',
      `${load.task.table}: a row was written to it while it was being swapped; it was put back`,
    );
  }
  await connection.run(`DROP TABLE ${old}`);
}

async function checkEmpty(connection: Connection, table: string, load: TableLoad): Promise<void> {
  if (await connection.row(`SELECT 1 AS taken FROM ${table} LIMIT 1`)) {
    throw loaderError(
      'LOAD_TABLE_CHANGED',
      `${load.task.table} was empty and no longer is: something else writes to it`,
    );
  }
}

/**
 * Removes staging tables that a run which died left behind; call it under the lock. One that was renamed away and holds rows is put
 * nowhere and dropped never: somebody's rows are in it.
 */
export async function dropLeftovers(connection: Connection): Promise<void> {
  const rows = await connection.rows(
    "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'tableset\\_stage\\_%'",
  );
  for (const row of rows) {
    const name = String(row['name']);
    const table = quoteIdentifier(name);
    if (name.startsWith(oldPrefix) && (await connection.row(`SELECT 1 AS taken FROM ${table} LIMIT 1`))) {
      throw loaderError(
        'LOAD_TABLE_CHANGED',
        `${name} holds rows that were written while a table was being swapped by a run that died`,
        {
          hint: `Copy its rows into the table they belong to, then drop ${name}.`,
        },
      );
    }
    await connection.run(`DROP TABLE ${table}`);
  }
}
