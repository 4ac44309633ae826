import type { Connection } from '@tableset/common/database/connection.ts';
import type { SchemaLock } from '@tableset/common/database/lock.ts';
import { replayed, rollBack } from '@tableset/common/database/transaction.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { Delta } from './delta.ts';
import { fillEmpty } from './fill-empty.ts';
import { checkGuards } from './guards.ts';
import { deleteRows, writeRows } from './publish-rows.ts';
import { noCounts, type TableCounts } from './table-counts.ts';
import type { LoadContext, PassResult, TableLoad } from './table-load.ts';

/** One table of a set that is published together. */
export interface SetMember {
  readonly load: TableLoad;
  /** Null for mode direct, and where the source is empty and nothing is to be done. */
  readonly delta: Delta | null;
}

export interface Published {
  readonly counts: TableCounts;
  /** Null only if the source was empty. */
  readonly pass: PassResult | null;
  /** Rows in the table afterwards. */
  readonly rowCount: number | null;
}

/**
 * Publishes a set of tables linked by foreign keys in one READ COMMITTED transaction on the lock's connection: deletes children first,
 * then updates and inserts parents first, then the ledger. All or nothing.
 * @param members parents before children
 * @param record writes the ledger's rows inside the same transaction
 */
export async function publishSet(
  members: readonly SetMember[],
  lock: SchemaLock,
  context: LoadContext,
  record: (published: readonly Published[]) => Promise<void>,
): Promise<readonly Published[]> {
  for (const { load, delta } of members) if (delta) checkGuards(load, delta);
  return await replayed(
    context.connection,
    context.signal,
    () => publishOnce(members, lock, context, record),
    (facts) => context.output.event('warn', 'publishing is tried again', facts),
  );
}

async function publishOnce(
  members: readonly SetMember[],
  lock: SchemaLock,
  context: LoadContext,
  record: (published: readonly Published[]) => Promise<void>,
): Promise<readonly Published[]> {
  const { connection } = context;
  await connection.run('START TRANSACTION');
  try {
    await lock.assertHeld();
    const early = await deleteEarly(members, connection);
    const written: Published[] = [];
    for (const member of members) {
      written.push(
        member.load.mode === 'direct' ? await fillEmpty(member.load, context) : await writeDelta(member, connection),
      );
    }
    const deleted = early ?? (await deleteAll(members, connection));
    const published = members.map((member, index) =>
      // There is one for each member.
      withDeleted(written[index] as Published, deleted.get(member) ?? 0),
    );
    await record(published);
    await connection.run('COMMIT');
    return published;
  } catch (error) {
    await rollBack(connection);
    throw error;
  }
}

/**
 * Deletes children first. Rows that others are about to be moved away from can go only after that, so where a foreign key is in the way
 * nothing is deleted yet.
 * @returns how many rows of each table, or null
 */
async function deleteEarly(
  members: readonly SetMember[],
  connection: Connection,
): Promise<ReadonlyMap<SetMember, number> | null> {
  await connection.run('SAVEPOINT tableset_delete');
  try {
    return await deleteAll(members, connection);
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'LOAD_FOREIGN_KEY')) throw error;
    await connection.run('ROLLBACK TO SAVEPOINT tableset_delete');
    return null;
  }
}

async function deleteAll(
  members: readonly SetMember[],
  connection: Connection,
): Promise<ReadonlyMap<SetMember, number>> {
  const deleted = new Map<SetMember, number>();
  for (const member of members.toReversed()) {
    if (member.delta) deleted.set(member, await deleteRows(member.delta, connection));
  }
  return deleted;
}

async function writeDelta({ load, delta }: SetMember, connection: Connection): Promise<Published> {
  if (!delta) return { counts: noCounts(load.task.table), pass: null, rowCount: null };
  const { pass } = delta;
  const { updated, inserted } = await writeRows(load, delta, connection);
  const unchanged = pass.read - pass.rejected - delta.held - inserted - updated;
  const counts = {
    ...noCounts(load.task.table),
    read: pass.read,
    inserted,
    updated,
    unchanged,
    rejected: pass.rejected,
    held: delta.held,
  };
  const publish = inserted + updated > 0 ? 'delta' : null;
  const rowCount = delta.rowsBefore === null ? null : delta.rowsBefore + inserted;
  return { counts: { ...counts, publish }, pass, rowCount };
}

function withDeleted({ counts, pass, rowCount }: Published, deleted: number): Published {
  if (deleted === 0) return { counts, pass, rowCount };
  return {
    counts: { ...counts, deleted, publish: 'delta' },
    pass,
    rowCount: rowCount === null ? null : rowCount - deleted,
  };
}
