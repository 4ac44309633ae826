import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import type { SchemaLock } from '@tableset/common/database/lock.ts';
import { quoteIdentifier, quoteTable } from '@tableset/common/database/quoting.ts';
import { withoutCounter } from '@tableset/common/database/read-table.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import { isUniqueOver } from '../core/table-rules.ts';
import { loaderError } from '../errors.ts';
import { duplicateCheck } from './duplicates.ts';
import type { Published } from './publish.ts';
import { renameStage, stageNames } from './swap-rename.ts';
import { noCounts, type TableCounts } from './table-counts.ts';
import { type LoadContext, readSource, type TableLoad } from './table-load.ts';
import { type RowBlock, TableWriter } from './table-writer.ts';

/** Two streams: a third gains nothing, since inserting into one table is what the server is busy with. */
const streams = 2;

/**
 * Fills an empty table by way of a staging table: rows by two streams into the primary key alone, then the other indexes, then
 * RENAME. The table is seen empty until then and whole from then on.
 * @param expectSwap told right before the RENAME what will be so right after it
 */
export async function loadBySwap(
  load: TableLoad,
  lock: SchemaLock,
  context: LoadContext,
  expectSwap: (counts: TableCounts) => Promise<void>,
): Promise<Published> {
  const { connection } = context;
  const { table } = load.task;
  const { stage, old } = stageNames(load.definition.name);
  await connection.run(`DROP TABLE IF EXISTS ${stage}`);
  await connection.run(`CREATE TABLE ${stage} LIKE ${quoteIdentifier(load.definition.name)}`);
  try {
    const indexes = await dropIndexes(connection, stage, load);
    const { pass, written, duplicates } = await fillStage(load, context, stage);
    if (!pass) return { counts: noCounts(table), pass: null, rowCount: 0 };
    context.output.event('debug', 'adding indexes', { table, indexes: indexes.length });
    await addIndexes(connection, stage, indexes, load);
    await checkStage(connection, stage, load, written);
    const counts = {
      ...noCounts(table),
      read: pass.read,
      inserted: written,
      unchanged: duplicates,
      rejected: pass.rejected,
      publish: 'swap',
    } as const;
    await expectSwap(counts);
    await lock.assertHeld();
    const late = await renameStage(connection, load, pass.target, { stage, old });
    if (late > 0)
      context.output.event('warn', 'rows that were written during the swap were kept', { table, rows: late });
    return { counts, pass, rowCount: late > 0 ? null : written };
  } finally {
    if (!connection.lost) {
      await connection
        .uninterrupted(() => connection.run(`DROP TABLE IF EXISTS ${stage}`))
        .catch(() => connection.destroy());
    }
  }
}

/** Drops every index but the primary key and the one that rows are matched by; returns their lines as SHOW CREATE TABLE prints them. */
async function dropIndexes(connection: Connection, stage: string, load: TableLoad): Promise<readonly string[]> {
  const lines = load.definition.createStatement
    .split('\n')
    .map((line) => /^ {2}((?:UNIQUE |FULLTEXT |SPATIAL )?KEY `(?:[^`]|``)+`.*?),?$/.exec(line)?.[1])
    .filter((line) => line !== undefined);
  // An AUTO_INCREMENT column must stay the first of some index.
  const counter = load.definition.columns.find((column) => column.autoIncrement)?.name;
  const isPrimary = (name: string) =>
    load.definition.indexes.some((index) => index.name === 'PRIMARY' && index.parts[0]?.column === name);
  const kept = new Set(keyIndexes(load.definition, load.key).map(quoteIdentifier));
  const dropped = lines.filter(
    (line) =>
      !kept.has(indexName(line)) &&
      (counter === undefined || isPrimary(counter) || !line.includes(quoteIdentifier(counter))),
  );
  if (dropped.length > 0)
    await connection.run(`ALTER TABLE ${stage} ${dropped.map((line) => `DROP INDEX ${indexName(line)}`).join(', ')}`);
  return dropped;
}

/** Without the unique index over the key, the same row twice would be found only when it is too late to leave it out. */
function keyIndexes(definition: TableDefinition, key: readonly string[]): readonly string[] {
  return definition.indexes.filter((index) => isUniqueOver(index, key)).map(({ name }) => name);
}

function indexName(line: string): string {
  return /KEY (`(?:[^`]|``)+`)/.exec(line)?.[1] ?? '';
}

/** Adds the indexes, and the counter that the table has: ids that were given away must not be given again. */
async function addIndexes(
  connection: Connection,
  stage: string,
  indexes: readonly string[],
  load: TableLoad,
): Promise<void> {
  const table = quoteTable(load.definition.schema, load.definition.name);
  const created = await connection.row(`SHOW CREATE TABLE ${table}`);
  const counter = /\n\)[^\n]*? AUTO_INCREMENT=(\d+)/.exec(String(created?.['Create Table']))?.[1];
  // InnoDB builds one full-text index at a time.
  const fullText = indexes.filter((line) => line.startsWith('FULLTEXT'));
  const others = indexes.filter((line) => !line.startsWith('FULLTEXT'));
  const alterations = [
    [...others.map((line) => `ADD ${line}`), ...(counter ? [`AUTO_INCREMENT = ${counter}`] : [])],
    ...fullText.map((line) => [`ADD ${line}`]),
  ];
  for (const parts of alterations) {
    if (parts.length === 0) continue;
    await connection.run(`ALTER TABLE ${stage} ${parts.join(', ')}`).catch((error) => {
      throw classifyFault(error) === 'duplicate-key'
        ? loaderError('LOAD_UNIQUE_CONFLICT', `${load.task.table}: ${error.message}`, { cause: error })
        : error;
    });
  }
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
    // The last chunks were written after the source was read to its end: the server may have refused rows of them.
    context.rejects.get(load.task.table)?.check();
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
