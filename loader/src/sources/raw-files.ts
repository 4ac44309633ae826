import type { Fingerprint } from './source.ts';

/** What an adapter offers for one file: its bytes as they are transferred. */
export interface RawFile {
  /** For messages; its ending tells the compression. */
  readonly name: string;
  /** The path of a regular local file with these very bytes, or null. */
  readonly localPath: string | null;
  /**
   * The bytes. Throws if they end before their announced end.
   * @param seen what the server said of itself when this file was read or asked about before in this run; another answer must throw LOAD_SOURCE_CHANGED.
   */
  bytes(signal: AbortSignal, seen: ServerIdentity | null): RawBytes;
}

export interface RawBytes extends AsyncIterable<Buffer> {
  /** What the server said of itself, once the first buffer came or the bytes ended; null if nothing. */
  readonly identity: ServerIdentity | null;
}

/** What a server says that a content is. */
export interface ServerIdentity {
  /** An ETag, or a date of modification that is old enough to tell versions apart. */
  readonly value: string;
  readonly bytes: number | null;
}

/** The adapters' side of a source: which files there are. */
export interface RawFiles {
  describe(): string;
  /** Lists the files now, in order of their names; throws LOAD_SOURCE_MISSING if there is none. */
  list(signal: AbortSignal): Promise<readonly RawFile[]>;
  /** What the server says of each file without its bytes being read; null where only the content tells. */
  identities: ((signal: AbortSignal) => Promise<ReadonlyMap<string, ServerIdentity | null>>) | null;
}

export const unknownFingerprint: Fingerprint = { kind: 'none', value: '', bytes: null };
