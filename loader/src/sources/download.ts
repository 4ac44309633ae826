import type { Readable } from 'node:stream';
import { AppError } from '@tableset/common/errors.ts';
import { loaderError } from '../errors.ts';
import { delay } from '../http/delay.ts';
import { refusedConnection, sourceChanged, systemCode } from './failure.ts';
import type { RawBytes, ServerIdentity } from './raw-files.ts';
import type { TransferTiming } from './source.ts';

/** What a server answers with: the content from `offset` on. */
export interface Part {
  readonly body: Readable;
  /** Where in the whole content the body starts; 0 if the server sent it all in spite of being asked for the rest. */
  readonly offset: number;
  /** Size of the whole content, null if the server did not say. */
  readonly totalBytes: number | null;
  readonly identity: ServerIdentity | null;
  /** The ETag, if it promises equal bytes; needed to go on in the middle. */
  readonly strongEtag: string | null;
}

/** Asks for the content from `offset` on, of the version `strongEtag` if one is given. Throws Passing for what a retry may cure. */
export type FetchPart = (
  from: { readonly offset: number; readonly strongEtag: string | null },
  signal: AbortSignal,
) => Promise<Part>;

/** A fault that a retry may cure. `failure` is what ends the run if it does not. */
export class Passing extends Error {
  readonly failure: AppError;
  /** How long the server asked us to wait. */
  readonly waitMs: number | null;

  constructor(failure: AppError, waitMs: number | null = null) {
    super(failure.message, { cause: failure });
    this.failure = failure;
    this.waitMs = waitMs;
  }
}

/** After this many bytes the count of tries starts anew: the transfer makes progress. */
const progressBytes = 1024 * 1024;
const waitMsMax = 30_000;

/**
 * Transfers one content in spite of broken connections: again from the start while nothing was handed on, else from where it
 * broke if the server vouches by a strong ETag that it is the same content.
 * @param seen what the server said of the content earlier in this run, or null.
 */
export function download(
  name: string,
  fetchPart: FetchPart,
  timing: TransferTiming,
  signal: AbortSignal,
  seen: ServerIdentity | null,
): RawBytes {
  let identity: ServerIdentity | null = null;
  return {
    get identity() {
      return identity;
    },
    [Symbol.asyncIterator]: () =>
      transfer({ name, fetchPart, timing, signal }, (part) => {
        if (seen && part.identity && part.identity.value !== seen.value)
          throw sourceChanged(name, `the server calls it ${part.identity.value} now, and ${seen.value} before`);
        identity = part.identity;
      }),
  };
}

interface Transfer {
  readonly name: string;
  readonly fetchPart: FetchPart;
  readonly timing: TransferTiming;
  readonly signal: AbortSignal;
}

async function* transfer(
  { name, fetchPart, timing, signal }: Transfer,
  onPart: (part: Part) => void,
): AsyncGenerator<Buffer, void, undefined> {
  let first: Part | null = null;
  let position = 0;
  let failures = 0;
  let positionAtFailure = 0;
  for (;;) {
    let fault: Passing;
    try {
      const part: Part = await fetchPart({ offset: position, strongEtag: first?.strongEtag ?? null }, signal);
      if (position === 0) first = part;
      try {
        onPart(part);
        if (first && part !== first) checkSame(name, first, part);
      } catch (error) {
        part.body.destroy();
        throw error;
      }
      for await (const chunk of bodyFrom(part, position, timing.silenceTimeoutMs, signal)) {
        position += chunk.length;
        yield chunk;
      }
      if (part.totalBytes === null || position === part.totalBytes) return;
      fault = new Passing(truncated(name, position, part.totalBytes));
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof AppError) throw error;
      const refused = refusedConnection(error, name);
      if (refused) throw refused;
      fault = error instanceof Passing ? error : new Passing(broken(name, position, first?.totalBytes ?? null, error));
    }
    if (position > 0 && first?.strongEtag === null) throw fault.failure;
    failures = position - positionAtFailure >= progressBytes ? 1 : failures + 1;
    positionAtFailure = position;
    if (failures >= timing.attempts) throw fault.failure;
    await delay(Math.min(Math.max(fault.waitMs ?? 0, timing.retryDelayMs * 2 ** (failures - 1)), waitMsMax), signal);
  }
}

function checkSame(name: string, first: Part, part: Part): void {
  if (part.strongEtag !== first.strongEtag)
    throw sourceChanged(name, `its ETag was ${first.strongEtag} at the start and is ${part.strongEtag} after a break`);
  if (part.totalBytes !== first.totalBytes)
    throw sourceChanged(name, `its size was ${first.totalBytes} at the start and is ${part.totalBytes} after a break`);
}

/** The body from `position` on, which a server that ignores ranges sends after all that we have already. A silence ends it. */
async function* bodyFrom(
  part: Part,
  position: number,
  silenceTimeoutMs: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  let skip = position - part.offset;
  let waiting = true;
  const onSilence = () => {
    // While the buffers are worked on it is not the server that is silent.
    if (waiting)
      part.body.destroy(Object.assign(new Error(`silent for ${silenceTimeoutMs} ms`), { code: 'ETIMEDOUT' }));
  };
  const timer = setTimeout(onSilence, silenceTimeoutMs);
  const onAbort = () => part.body.destroy(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    // Bodies of both adapters are byte streams.
    for await (const chunk of part.body as AsyncIterable<Buffer>) {
      waiting = false;
      if (skip >= chunk.length) skip -= chunk.length;
      else {
        yield skip > 0 ? chunk.subarray(skip) : chunk;
        skip = 0;
      }
      waiting = true;
      timer.refresh();
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    part.body.destroy();
  }
}

function truncated(name: string, position: number, totalBytes: number): AppError {
  return loaderError('LOAD_SOURCE_TRUNCATED', `${name} ended after ${position} of ${totalBytes} bytes`);
}

function broken(name: string, position: number, totalBytes: number | null, error: unknown): AppError {
  const code = systemCode(error) ?? 'unknown error';
  if (position === 0)
    return loaderError('LOAD_SOURCE_UNREACHABLE', `${name} cannot be reached (${code})`, { cause: error });
  return loaderError(
    'LOAD_SOURCE_TRUNCATED',
    `${name} broke off after ${position}${totalBytes === null ? '' : ` of ${totalBytes}`} bytes (${code})`,
    { cause: error },
  );
}
