import type { Connection } from '@tableset/common/database/connection.ts';
import type { Reject } from '../core/encoded-rows.ts';
import { loaderError } from '../errors.ts';

/** Rejects kept for the ledger and for messages; beyond these they are only counted. */
const keptMax = 10_000;

/** Rejects that a message names. */
const namedMax = 20;

/** Counts a table's rejected rows in one pass over its source, and says at its end whether there were too many. */
export class RejectCollector {
  readonly kept: Reject[] = [];
  count = 0;
  readonly #table: string;
  readonly #limit: number;

  constructor(table: string, limit: number) {
    this.#table = table;
    this.#limit = limit;
  }

  /** True once nothing of the pass can be published: the rest is only read to find what else is to be mended. */
  get exceeded(): boolean {
    return this.count > this.#limit;
  }

  /** @throws AppError LOAD_REJECTED when so many are past the limit that a message could not name them. */
  readonly add = (reject: Reject): void => {
    this.count++;
    if (this.kept.length < keptMax) this.kept.push(reject);
    if (this.count >= this.#limit + namedMax) this.check(' so far');
  };

  /** @throws AppError LOAD_REJECTED if there are more than may be; it names up to 20 of them. */
  check(soFar = ''): void {
    const [first] = this.kept;
    if (!this.exceeded || !first) return;
    const limit = this.#limit === 0 ? 'none may be (maxRejects: 0)' : `at most ${this.#limit} may be (maxRejects)`;
    const rejects = this.kept.slice(0, namedMax).map(describeReject);
    throw loaderError(
      'LOAD_REJECTED',
      `${this.#table}: ${this.count} rejected${soFar}, ${limit}:\n${rejects.map((each) => `  ${each}`).join('\n')}`,
      { details: { rejects } },
    );
  }
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
