import type { LoadTable } from '../config/load-config.ts';
import type { OtherDatabase, S3Settings } from '../config/schema.ts';
import { contentSource } from './content-source.ts';
import { fileFiles } from './file-source.ts';

/** What a source is now, as cheaply as it can be told, to compare with what was loaded last. */
export interface Fingerprint {
  /** `content`: a SHA-256 of the bytes; `etag`: what the server says of itself; `none`: it cannot be told without reading. */
  readonly kind: 'content' | 'etag' | 'none';
  /** Empty for `none`. Compare it only with values of the same kind. */
  readonly value: string;
  /** Size as transferred, where it is known. */
  readonly bytes: number | null;
}

/** One file of a source. Its bytes are decompressed. */
export interface SourceFile {
  /** For messages and rejects: a path, a key or an address, never with credentials or a query string. */
  readonly name: string;
  /** A local file with the decompressed content, valid until the next file is asked for. Always there if `open` was asked for random access. */
  readonly path: string | null;
  /**
   * The content in buffers of up to 256 KiB, each good until the next is asked for. It ends only if the content is provably complete; anything else throws.
   * May be iterated once.
   * @throws AppError LOAD_SOURCE_TRUNCATED, LOAD_SOURCE_CORRUPT, LOAD_SOURCE_CHANGED, LOAD_SOURCE_DIGEST, LOAD_SOURCE_TOO_LARGE, LOAD_SOURCE_UNREACHABLE
   */
  bytes(): AsyncIterable<Buffer>;
}

export interface OpenOptions {
  /** Gives every file a local `path`, if need be of a temporary copy, which the end of the iteration removes. */
  readonly randomAccess?: boolean;
}

/** A source of files. */
export interface ByteSource {
  readonly kind: 'bytes';
  /** Names the source in messages, without credentials or query strings. */
  describe(): string;
  /** Once everything was read, what was read; before that, what the source is now. What is read later must then fit it. */
  fingerprint(signal: AbortSignal): Promise<Fingerprint>;
  /**
   * The files in order of their names. It may be called again for another pass, which throws LOAD_SOURCE_CHANGED before its end
   * if it does not see what the first one saw.
   */
  open(signal: AbortSignal, options?: OpenOptions): AsyncIterable<SourceFile>;
}

/** A column of a query's result. */
export interface RecordColumn {
  readonly name: string;
  /** Values are Buffers; otherwise text exactly as the server prints it, FLOAT with the digits that tell it apart. */
  readonly binary: boolean;
}

/** The result of a query while it arrives. */
export interface RecordSet extends AsyncDisposable {
  readonly columns: readonly RecordColumn[];
  /** Batches of rows, in the order of `columns`. May be iterated once; ends only after the server said that all rows came. */
  readonly rows: AsyncIterable<readonly (readonly (string | Buffer | null)[])[]>;
}

/** A source of rows. */
export interface RecordSource {
  readonly kind: 'records';
  describe(): string;
  fingerprint(signal: AbortSignal): Promise<Fingerprint>;
  /** @throws AppError LOAD_QUERY_REFUSED, or a DATABASE_… code of the other server. */
  open(signal: AbortSignal): Promise<RecordSet>;
}

export type Source = ByteSource | RecordSource;

/** What the adapters need from outside. */
export interface SourceContext {
  readonly databases: Readonly<Record<string, OtherDatabase>>;
  readonly s3: S3Settings;
  /** Folder for temporary copies. */
  readonly temporaryDirectory: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told of what is allowed but doubtful; the message is constant, the rest are fields. */
  readonly warn: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  /** Shortens waits in tests. */
  readonly timing?: Partial<TransferTiming>;
}

/** Waits of transfers over a network, in milliseconds. */
export interface TransferTiming {
  readonly connectTimeoutMs: number;
  /** From the request to the first line of the answer. */
  readonly responseTimeoutMs: number;
  /** Longest silence within a body, while we wait for it. */
  readonly silenceTimeoutMs: number;
  /** Tries in a row without progress. */
  readonly attempts: number;
  /** Pause before the second try; it doubles each time. */
  readonly retryDelayMs: number;
}

export const transferTiming: TransferTiming = {
  connectTimeoutMs: 10_000,
  responseTimeoutMs: 30_000,
  silenceTimeoutMs: 60_000,
  attempts: 5,
  retryDelayMs: 500,
};

/** Makes the source of one table. Adapters for others than files are imported when they are first needed: most runs need none of them. */
export async function createSource(
  table: Pick<LoadTable, 'source' | 'compression' | 'maxDecompressedBytes' | 'maxDecompressionRatio'>,
  context: SourceContext,
): Promise<Source> {
  const { source } = table;
  if (source.kind === 'query') {
    const { querySource } = await import('./query-source.ts');
    return querySource(source, context);
  }
  const options = { ...table, proof: source.proof, temporaryDirectory: context.temporaryDirectory };
  switch (source.kind) {
    case 'file':
      return contentSource(fileFiles(source), options);
    case 'http': {
      const { httpFiles } = await import('./http-source.ts');
      return contentSource(httpFiles(source, context), options);
    }
    case 's3': {
      const { s3Files } = await import('./s3-source.ts');
      return contentSource(s3Files(source, context), options);
    }
    default:
      throw new Error(`unknown source ${String(source satisfies never)}`);
  }
}
