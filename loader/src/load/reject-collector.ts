import type { Connection } from '@tableset/common/database/connection.ts';
import type { Reject } from '../core/encoded-rows.ts';
import { loaderError } from '../errors.ts';

/** Rejects kept for the ledger and for messages; beyond these they are only counted. */
const keptMax = 10_000;

/** Counts a table's rejected rows in one pass over its source, and ends the pass when there are too many. */
export class RejectCollector {
  readonly kept: Reject[] = [];
  count = 0;
  readonly #table: string;
  readonly #limit: number;

  constructor(table: string, limit: number) {
    this.#table = table;
    this.#limit = limit;
  }

  /** @throws AppError LOAD_REJECTED for the first row past the limit. */
  readonly add = (reject: Reject): void => {
    this.count++;
    if (this.kept.length < keptMax) this.kept.push(reject);
    if (this.count <= this.#limit) return;
    const limit = this.#limit === 0 ? 'none may be (maxRejects: 0)' : `at most ${this.#limit} may be (maxRejects)`;
    throw loaderError(
      'LOAD_REJECTED',
      `${this.#table}: ${describeReject(reject)}; ${this.count} rejected so far, ${limit}`,
      {
        details: { rejects: this.kept.slice(-5).map(describeReject) },
      },
    );
  };
}

/** "products.csv:17: column price: 1.239 has more than 2 fraction digits". */
export function describeReject(reject: Reject): string {
  const column = reject.column === null ? '' : ` column ${reject.column}:`;
  return `${reject.source}:${reject.line}:${column} ${reject.reason}`;
}

/** Writes the kept rejects of a run to the ledger, many rows a statement. */
export async function recordRejects(
  connection: Connection,
  runId: string,
  table: string,
  rejects: readonly Reject[],
): Promise<void> {
  const perStatement = 500;
  for (let start = 0; start < rejects.length; start += perStatement) {
    const batch = rejects.slice(start, start + perStatement);
    await connection.run(
      `INSERT INTO tableset_rejects (run_id, table_name, file, line, column_name, reason, value) VALUES ${batch.map(() => '(?,?,?,?,?,?,?)').join(',')}`,
      batch.flatMap((reject) => [
        runId,
        table,
        reject.source,
        reject.line,
        reject.column,
        reject.reason.slice(0, 1000),
        reject.value,
      ]),
    );
  }
}
