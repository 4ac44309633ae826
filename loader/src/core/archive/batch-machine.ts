/*
 * The life of one batch between two servers, or a server and files, as a pure machine: what was done and how it ended decides what is
 * done next. Whoever carries the effects out may die after, or in the middle of, any of them; `resume` then says from the ledger's
 * row alone how the next run goes on. The order is the whole safety of it:
 *
 * - the ledger names the batch before the store holds anything of it, so that whatever is left there can be found;
 * - the store's copy is sealed, then proved by reading it back, before the transaction that deletes;
 * - that transaction compares the rows with what was copied once more, under locks, and marks the batch as deleted by
 *   compare-and-set: marker and deletion are one;
 * - a batch that is to be taken away is abandoned in the ledger first, so that nobody relies on it meanwhile.
 */

/** What the ledger says of a batch that this machine works on. */
export type LedgerState = 'copying' | 'copied' | 'verified' | 'deleted' | 'abandoned' | 'removed';

/** One thing to do; each is safe to be cut anywhere. */
export type BatchEffect =
  /** Writes a new row `copying` into the ledger. */
  | { readonly do: 'open' }
  /** Raises the token of a row that an earlier run left, so that its writer changes nothing more. */
  | { readonly do: 'take-over' }
  /** Reads the rows without locks and writes them to the store. */
  | { readonly do: 'copy' }
  /** Makes them durable there, together with the manifest. */
  | { readonly do: 'seal' }
  /** Compare-and-set of the ledger's row, in a transaction of its own. */
  | { readonly do: 'record'; readonly from: LedgerState; readonly to: LedgerState }
  /** Reads the store's rows back and compares them with the primary's hashes, or with the manifest's. */
  | { readonly do: 'prove' }
  /** Waits as long as the settings want between copy and delete. */
  | { readonly do: 'wait' }
  /** The transaction on the primary: locks, compares, compare-and-set, deletes, counts, commits. */
  | { readonly do: 'delete' }
  /** After a COMMIT without an answer: asks the same primary on a new connection what has become of the row. */
  | { readonly do: 'settle' }
  /** Takes away what the store holds of the batch. */
  | { readonly do: 'remove' };

/** How an effect ended. What throws ends the run instead, and is the next run's to go on from. */
export type BatchOutcome =
  | 'done'
  /** copy: no row of the range is left to be copied. */
  | 'empty'
  /** prove: the store does not give back what was put into it. */
  | 'differs'
  /** delete: at least one row is not what was copied; rolled back. */
  | 'changed'
  /** delete: COMMIT was sent, and no answer came. */
  | 'unknown'
  /** settle: the transaction was rolled back. */
  | 'not-committed';

/** How a batch ended. */
export type BatchEnd =
  | 'deleted'
  /** Nothing was left to be copied, or it was voided too often; the store holds nothing of it. */
  | 'removed'
  /** The store's copy is not what was copied: nothing may be deleted, and somebody has to look at the store. */
  | 'unproved'
  /** The connection that held the lock is gone, and the transaction with it; the next run goes on. */
  | 'lost';

type Stage =
  | 'open'
  | 'take-over'
  | 'copy'
  | 'seal'
  | 'record-copied'
  | 'prove'
  | 'record-verified'
  | 'wait'
  | 'prove-again'
  | 'delete'
  | 'settle'
  | 'record-abandoned'
  | 'remove'
  | 'record-removed'
  | 'end';

/** Where a batch is. */
export interface BatchProgress {
  readonly stage: Stage;
  /** What the ledger says as far as this run knows. */
  readonly ledger: LedgerState | null;
  /** How often the rows of the range have been tried, this time included. */
  readonly attempt: number;
  /** Left by an earlier run: if it is void, its rows are selected again like any others. */
  readonly recovered: boolean;
  /** Whether a proof that is older than the moment before the delete is made again: after a wait, and in recovery. */
  readonly proveAgain: boolean;
  /** Why it is being taken away. */
  readonly giveUp: 'empty' | 'changed' | 'unproved' | 'unusable' | null;
  readonly end: BatchEnd | null;
}

/** A range whose rows change faster than it is copied is left to another run after this many attempts. */
export const attemptsMax = 8;

/** A new batch. */
export function startBatch(options: { readonly delayed: boolean }): BatchProgress {
  return {
    stage: 'open',
    ledger: null,
    attempt: 1,
    recovered: false,
    proveAgain: options.delayed,
    giveUp: null,
    end: null,
  };
}

/**
 * A batch that an earlier run left behind.
 * @param usable false if its manifest no longer fits the tables, or rows went with it that only the run that read them knew
 * @returns null if nothing is left to be done
 */
export function resumeBatch(ledger: LedgerState, usable: boolean): BatchProgress | null {
  if (ledger === 'deleted' || ledger === 'removed') return null;
  const keep = usable && (ledger === 'copied' || ledger === 'verified');
  return {
    stage: 'take-over',
    ledger,
    attempt: 1,
    recovered: true,
    proveAgain: true,
    giveUp: keep ? null : 'unusable',
    end: null,
  };
}

/** What is to be done next; null when the batch has come to its end. */
export function nextEffect(progress: BatchProgress): BatchEffect | null {
  const { stage } = progress;
  const from = progress.ledger ?? 'copying';
  switch (stage) {
    case 'open':
    case 'take-over':
    case 'copy':
    case 'seal':
    case 'prove':
    case 'wait':
    case 'delete':
    case 'settle':
    case 'remove':
      return { do: stage };
    case 'prove-again':
      return { do: 'prove' };
    case 'record-copied':
      return { do: 'record', from, to: 'copied' };
    case 'record-verified':
      return { do: 'record', from, to: 'verified' };
    case 'record-abandoned':
      return { do: 'record', from, to: 'abandoned' };
    case 'record-removed':
      return { do: 'record', from, to: 'removed' };
    case 'end':
      return null;
    default:
      return stage satisfies never;
  }
}

/** Goes on after an effect. */
export function afterEffect(progress: BatchProgress, outcome: BatchOutcome): BatchProgress {
  const { stage } = progress;
  switch (stage) {
    case 'open':
      return { ...progress, stage: 'copy', ledger: 'copying', giveUp: null };
    case 'take-over':
      return { ...progress, stage: afterTakeOver(progress) };
    case 'copy':
      return outcome === 'empty' ? giveUp(progress, 'empty') : { ...progress, stage: 'seal' };
    case 'seal':
      return { ...progress, stage: 'record-copied' };
    case 'record-copied':
      return { ...progress, stage: 'prove', ledger: 'copied' };
    case 'prove':
      return outcome === 'differs' ? giveUp(progress, 'unproved') : { ...progress, stage: 'record-verified' };
    case 'record-verified':
      return { ...progress, stage: progress.proveAgain ? 'wait' : 'delete', ledger: 'verified' };
    case 'wait':
      return { ...progress, stage: 'prove-again' };
    case 'prove-again':
      return outcome === 'differs' ? giveUp(progress, 'unproved') : { ...progress, stage: 'delete' };
    case 'delete':
      return afterDelete(progress, outcome);
    case 'settle':
      return outcome === 'not-committed' ? end(progress, 'lost') : end({ ...progress, ledger: 'deleted' }, 'deleted');
    case 'record-abandoned':
      // What cannot be proved is left for people to look at; the next run takes it away.
      return progress.giveUp === 'unproved'
        ? end({ ...progress, ledger: 'abandoned' }, 'unproved')
        : { ...progress, stage: 'remove', ledger: 'abandoned' };
    case 'remove':
      return { ...progress, stage: 'record-removed' };
    case 'record-removed':
      return afterRemoved({ ...progress, ledger: 'removed' });
    case 'end':
      return progress;
    default:
      return stage satisfies never;
  }
}

/** Goes back to the proof of a batch whose deletion was put off. */
export function proveOnceMore(progress: BatchProgress): BatchProgress {
  return progress.stage === 'delete' ? { ...progress, stage: 'prove-again' } : progress;
}

function afterTakeOver(progress: BatchProgress): Stage {
  if (progress.ledger === 'abandoned') return 'remove';
  if (progress.giveUp !== null) return 'record-abandoned';
  return progress.ledger === 'copied' ? 'prove' : 'wait';
}

function afterDelete(progress: BatchProgress, outcome: BatchOutcome): BatchProgress {
  if (outcome === 'unknown') return { ...progress, stage: 'settle' };
  if (outcome === 'changed') return giveUp(progress, 'changed');
  return end({ ...progress, ledger: 'deleted' }, 'deleted');
}

/** A range whose rows had changed is made again, as a new batch without them. */
function afterRemoved(progress: BatchProgress): BatchProgress {
  const again = progress.giveUp === 'changed' && !progress.recovered && progress.attempt < attemptsMax;
  return again ? { ...progress, stage: 'open', ledger: null, attempt: progress.attempt + 1 } : end(progress, 'removed');
}

function giveUp(progress: BatchProgress, reason: NonNullable<BatchProgress['giveUp']>): BatchProgress {
  return { ...progress, stage: 'record-abandoned', giveUp: reason };
}

function end(progress: BatchProgress, how: BatchEnd): BatchProgress {
  return { ...progress, stage: 'end', end: how };
}
