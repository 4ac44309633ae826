import type { Connection } from '@tableset/common/database/connection.ts';
import { serverErrno } from '@tableset/common/database/errno.ts';
import { type Algorithm, alterCheapest } from '../alter-table.ts';
import type { Step } from '../step.ts';

/** What became of one statement on the copy. */
export type Trial =
  | { readonly kind: 'ran'; readonly algorithm: Algorithm | null }
  | { readonly kind: 'failed'; readonly error: string; readonly errno: number }
  /** It would have left the copy. */
  | { readonly kind: 'not-planned'; readonly reason: string }
  /** One before it failed. */
  | { readonly kind: 'not-reached' };

/** Verbs whose effect is not confined to a schema even without a qualified name. */
const unconfined: ReadonlySet<string> = new Set(['use', 'call', 'execute', 'grant']);

/** Runs one statement on the copy, which is the default schema. */
export async function tryStatement(connection: Connection, step: Step): Promise<Trial> {
  if (step.class.leavesSchema || unconfined.has(step.class.kind)) {
    return {
      kind: 'not-planned',
      reason: `it would leave the copy: ${step.class.leaves.join(', ') || step.class.verb}`,
    };
  }
  try {
    if (step.class.verb === 'ALTER TABLE')
      return { kind: 'ran', algorithm: await alterCheapest(connection, step.text) };
    await connection.run(step.text);
    return { kind: 'ran', algorithm: null };
  } catch (error) {
    const errno = serverErrno(error);
    if (errno === null || connection.lost || !(error instanceof Error)) throw error;
    return { kind: 'failed', error: error.message, errno };
  }
}
