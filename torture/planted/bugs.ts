// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are those of other files, with their placeholders
import type { SourceChange } from '../program/change.ts';
import type { Trial } from './trials.ts';

export interface PlantedBug {
  readonly name: string;
  readonly trial: Trial;
  readonly changes: readonly SourceChange[];
}

const oneServerSql = 'loader/src/core/archive/one-server-sql.ts';
const oneServerBatch = 'loader/src/archive/one-server-batch.ts';
const lane = 'loader/src/archive/one-server-lane.ts';
const twoServerDelete = 'loader/src/archive/two-server-delete.ts';
const twoServerProof = 'loader/src/archive/two-server-proof.ts';
const machine = 'loader/src/core/archive/batch-machine.ts';
const purgeBatch = 'loader/src/purge/purge-batch.ts';

const noRollback = {
  file: 'common/src/database/transaction.ts',
  find: "await connection.uninterrupted(() => connection.run('ROLLBACK')).catch(() => connection.destroy());\n}",
  replace: '}',
};
const roundedDecimal = {
  file: oneServerSql,
  find: 'return table.columns.map((column) => `${alias}.${quoteIdentifier(column.name)}`).join',
  replace:
    "return table.columns.map((column) => column.dataType === 'decimal' ? `ROUND(${alias}.${quoteIdentifier(column.name)}, 1)` : `${alias}.${quoteIdentifier(column.name)}`).join",
};
const sameValues = ".map((column) => sameValue(column, 's', 'a'))";
const countsOfBatch = 'if (affectedRows === copied[index]) continue;';

/** Bugs that a product of this kind has been known to have, each with the trial that has to catch it. */
export const plantedBugs: readonly PlantedBug[] = [
  {
    name: 'children go without being copied',
    trial: { scenario: 'archive', store: 'mysql' },
    changes: [
      {
        file: oneServerSql,
        find: 'WHERE p.${batchColumn} = ? FOR UPDATE',
        replace: 'WHERE p.${batchColumn} = ? AND FALSE FOR UPDATE',
      },
    ],
  },
  {
    name: 'the delete goes by a range of keys, and counts are not compared',
    trial: { scenario: 'archive', store: 'mysql' },
    changes: [
      {
        file: oneServerSql,
        find: "[keyMatch(table, 's', 'a'), ...same]",
        replace: "[keyMatch(table, 's', 'a').replaceAll(' = ', ' >= '), ...same]",
      },
      { file: oneServerSql, find: 'part(`${key} = ?`, [to])', replace: 'part(`${key} >= ?`, [to])' },
      { file: oneServerSql, find: sameValues, replace: ".map(() => 'TRUE')" },
      { file: oneServerBatch, find: countsOfBatch, replace: 'if (affectedRows >= 0) continue;' },
    ],
  },
  {
    name: 'the cut-off is a month late',
    trial: { scenario: 'archive', store: 'mysql' },
    changes: [
      {
        file: 'loader/src/core/archive/cutoff.ts',
        find: 'Math.round(days * daySeconds)',
        replace: 'Math.round((days - 31) * daySeconds)',
      },
    ],
  },
  {
    name: 'the cut-off comes from the clock of a client that is ahead',
    trial: { scenario: 'archive', store: 'filesystem' },
    changes: [
      {
        file: 'loader/src/archive/run-archive.ts',
        find: "String((await connection.row('SELECT UTC_TIMESTAMP(6) AS now'))?.['now'])",
        replace: "`${new Date(Date.now() + 60 * 86_400_000).toISOString().slice(0, -1).replace('T', ' ')}000`",
      },
    ],
  },
  {
    name: 'one server: the ledger is told after the commit',
    trial: { scenario: 'archive', store: 'mysql', strike: { statement: /^COMMIT$/, fault: 'unanswered' } },
    changes: [
      { file: oneServerBatch, find: "  await changeState(connection, claim, 'copying', 'deleted');\n", replace: '' },
      {
        file: lane,
        find: 'import { type BatchClaim, discardBatch,',
        replace: 'import { type BatchClaim, changeState, discardBatch,',
      },
      {
        file: lane,
        find: 'await this.#commit(claim);\n',
        replace: "await this.#commit(claim);\n      await changeState(connection, claim, 'copying', 'deleted');\n",
      },
    ],
  },
  {
    name: 'one server: a commit that was not answered is taken for done',
    trial: { scenario: 'archive', store: 'mysql', strike: { statement: /^COMMIT$/, fault: 'lost' } },
    changes: [
      {
        file: lane,
        find: "if ((await settleBatch(connection, claim, { output, signal })) !== 'deleted') throw error;",
        replace: 'await settleBatch(connection, claim, { output, signal });',
      },
    ],
  },
  {
    name: 'one server: no rollback after a lock wait timeout',
    trial: { scenario: 'archive', store: 'mysql', strike: { statement: /^DELETE .*`orders`/s, fault: 1205 } },
    changes: [noRollback],
  },
  {
    name: 'the result of GET_LOCK is ignored',
    trial: { scenario: 'archive', store: 'mysql', second: true },
    changes: [
      {
        file: 'common/src/database/lock.ts',
        find: 'if (got && worker === null) return',
        replace: 'if (row !== null) return',
      },
    ],
  },
  {
    name: 'loads are not told of the archive',
    trial: { scenario: 'archive', store: 'mysql' },
    changes: [
      {
        file: 'loader/src/archive/batch-ledger.ts',
        find: '  const [before, below] = dateType',
        replace: "  if (table !== '') return;\n  const [before, below] = dateType",
      },
    ],
  },
  {
    name: 'a DECIMAL is rounded on its way, and the delete goes by the key alone',
    trial: { scenario: 'archive', store: 'mysql' },
    changes: [roundedDecimal, { file: oneServerSql, find: sameValues, replace: ".map(() => 'TRUE')" }],
  },
  {
    name: 'a DECIMAL is rounded on its way',
    trial: { scenario: 'archive', store: 'mysql' },
    changes: [roundedDecimal],
  },
  {
    name: 'two servers: rows are not hashed again before they go',
    trial: { scenario: 'archive', store: 'filesystem', disturbance: "UPDATE orders SET note = 'changed' WHERE id = 5" },
    changes: [
      {
        file: twoServerDelete,
        find: "if (expected.length > 0 && row['digest'] !== digestOf(inKeyOrder(table, expected))) return false;",
        replace: '',
      },
    ],
  },
  {
    name: 'two servers: a new child is not looked for',
    trial: { scenario: 'archive', store: 'filesystem', disturbance: "INSERT INTO items VALUES (59, 5, 'new')" },
    changes: [
      {
        file: twoServerDelete,
        find: "if (Number(row?.['found']) !== expected.length || row?.['differing'] !== '0') return false;\n    if (expected",
        replace: 'if (table.child) continue;\n    if (expected',
      },
    ],
  },
  {
    name: 'two servers: what is re-dated goes all the same',
    trial: {
      scenario: 'archive',
      store: 'filesystem',
      disturbance: 'UPDATE orders SET created_at = UTC_TIMESTAMP(6) WHERE id = 5',
    },
    changes: [
      {
        file: twoServerDelete,
        find: "if (Number(row?.['found']) !== expected.length || row?.['differing'] !== '0') return false;\n    if (expected.length > 0 && row['digest'] !== digestOf(inKeyOrder(table, expected))) return false;",
        replace: '',
      },
    ],
  },
  {
    name: 'the proof compares counts alone',
    trial: { scenario: 'archive', store: 'filesystem', damage: 'flip' },
    changes: [
      { file: twoServerProof, find: ' || batchDigest(found.map(({ hash }) => hash)) !== table.sha256', replace: '' },
    ],
  },
  {
    name: 'the outcome of the proof is not looked at',
    trial: { scenario: 'archive', store: 'filesystem', damage: 'drop' },
    changes: [
      {
        file: machine,
        find: "return outcome === 'differs' ? giveUp(progress, 'unproved') : { ...progress, stage: 'record-verified' };",
        replace: "return { ...progress, stage: 'record-verified' };",
      },
      {
        file: 'loader/src/archive/two-server-steps.ts',
        find: "if (!found) return 'differs';",
        replace: "if (!found) return 'done';",
      },
    ],
  },
  {
    name: 'two servers: no rollback after a lock wait timeout',
    trial: { scenario: 'archive', store: 'filesystem', strike: { statement: /^DELETE .*`?orders`?/s, fault: 1205 } },
    changes: [noRollback],
  },
  {
    name: 'two servers: a commit that was not answered is taken for done',
    trial: { scenario: 'archive', store: 'filesystem', strike: { statement: /^COMMIT$/, fault: 'lost' } },
    changes: [
      {
        file: twoServerDelete,
        find: "    if (!connection.lost && classifyFault(error) === 'deadlock') throw error;\n    return false;",
        replace: '    return error !== null;',
      },
    ],
  },
  {
    name: 'two servers: the ledger is told before the deleting transaction',
    trial: { scenario: 'archive', store: 'filesystem', strike: { statement: /^DELETE .*`?orders`?/s, fault: 'lost' } },
    changes: [
      {
        file: twoServerDelete,
        find: "  await changeState(connection, request.claim, 'verified', 'deleted');\n",
        replace: '',
      },
      {
        file: twoServerDelete,
        find: "      await connection.run('START TRANSACTION');\n      const roots",
        replace:
          "      await changeState(connection, request.claim, 'verified', 'deleted');\n      await connection.run('START TRANSACTION');\n      const roots",
      },
    ],
  },
  {
    name: 'two servers: the rows go without a transaction',
    trial: { scenario: 'archive', store: 'filesystem', strike: { statement: /^DELETE .*`?orders`?/s, fault: 'lost' } },
    changes: [
      {
        file: twoServerDelete,
        find: "      await connection.run('START TRANSACTION');\n      const roots",
        replace: '      const roots',
      },
    ],
  },
  {
    name: 'what a voided batch left in the store stays there',
    trial: { scenario: 'archive', store: 'filesystem', disturbance: "UPDATE orders SET note = 'changed' WHERE id = 5" },
    changes: [
      {
        file: 'loader/src/archive/two-server-steps.ts',
        find: 'await this.#context.store.remove(this.#name(work), storedTables(this.#context.set, work));',
        replace: 'storedTables(this.#context.set, work);',
      },
    ],
  },
  {
    name: 'purge takes whatever is archived',
    trial: { scenario: 'purge', store: 'filesystem' },
    changes: [
      {
        file: 'loader/src/purge/run-purge.ts',
        find: 'cutoffOf(task, task.deleteAfterDays ?? 0, now)',
        replace: 'cutoffOf(task, 0, now)',
      },
    ],
  },
  {
    name: 'a batch is purged in the ledger alone',
    trial: { scenario: 'purge', store: 'filesystem' },
    changes: [
      {
        file: purgeBatch,
        find: '  await store.remove(batchName(batch), batchTables(batch));\n',
        replace: '  batchTables(batch);\n',
      },
    ],
  },
  {
    name: 'one server: a purge deletes more than its batch, and counts are not compared',
    trial: { scenario: 'purge', store: 'mysql' },
    changes: [
      { file: purgeBatch, find: "('tableset_batch')} = ?`", replace: "('tableset_batch')} < ? + 9e18`" },
      {
        file: purgeBatch,
        find: 'if (affectedRows === rows) continue;',
        replace: 'if (affectedRows >= 0 || rows > 0) continue;',
      },
    ],
  },
  {
    name: 'restored rows are not held',
    trial: { scenario: 'restore', store: 'filesystem' },
    changes: [
      {
        file: 'loader/src/restore/write-rows.ts',
        find: 'if (part.held) await',
        replace: 'if (part.held && table === "") await',
      },
    ],
  },
  {
    name: 'a load is published statement by statement',
    trial: {
      scenario: 'load',
      store: 'mysql',
      strike: { statement: /^INSERT INTO (`\w+`\.)?`products`/s, fault: 'lost' },
    },
    changes: [{ file: 'loader/src/load/publish.ts', find: "await connection.run('START TRANSACTION');", replace: '' }],
  },
];
