import { createHash } from 'node:crypto';
import type { LoadTable } from '../config/load-config.ts';
import type { Proof } from '../config/source-settings.ts';
import { loaderError } from '../errors.ts';
import { joinSmall } from './chunks.ts';
import type { Compression } from './decompress.ts';
import { sourceChanged } from './failure.ts';
import { openRegular } from './file-source.ts';
import { type RawFile, type RawFiles, type ServerIdentity, unknownFingerprint } from './raw-files.ts';
import type { ByteSource, Fingerprint, OpenOptions, SourceFile } from './source.ts';
import { spool } from './spool.ts';

export interface ContentOptions
  extends Pick<LoadTable, 'compression' | 'maxDecompressedBytes' | 'maxDecompressionRatio'> {
  readonly proof: Proof;
  readonly temporaryDirectory: string;
}

/**
 * Makes a source of an adapter's files: proves that every pass of a run sees the same bytes, and those that the configuration
 * promises, and decompresses.
 */
export function contentSource(files: RawFiles, options: ContentOptions): ByteSource {
  const record = new ContentRecord(files.describe(), options.proof);
  return {
    kind: 'bytes',
    describe: () => files.describe(),
    async fingerprint(signal) {
      const known = record.fingerprint(files.identities !== null);
      if (known) return known;
      if (options.proof.sha256 !== null)
        return { kind: 'content', value: options.proof.sha256, bytes: options.proof.sizeBytes };
      if (files.identities) {
        record.expectIdentities(await files.identities(signal));
        return record.identityFingerprint() ?? unknownFingerprint;
      }
      const pass = record.pass();
      for (const file of await files.list(signal)) for await (const _ of pass.read(file, signal));
      pass.finish();
      return record.fingerprint(false) ?? unknownFingerprint;
    },
    async *open(signal, openOptions = {}) {
      const pass = record.pass();
      for (const file of await files.list(signal)) yield* sourceFile(file, pass, signal, options, openOptions);
      pass.finish();
    },
  };
}

async function* sourceFile(
  file: RawFile,
  pass: Pass,
  signal: AbortSignal,
  options: ContentOptions,
  { randomAccess = false }: OpenOptions,
): AsyncGenerator<SourceFile, void, undefined> {
  // Telling what a source is now needs no zlib, which takes a while to load.
  const { compressionByEnding, decompress } = await import('./decompress.ts');
  const compression: Compression =
    options.compression === 'auto' ? compressionByEnding(file.name) : options.compression;
  const content = () => {
    const raw = pass.read(file, signal);
    return joinSmall(compression === 'none' ? raw : decompress(raw, compression, file.name, options));
  };
  const { name } = file;
  if (!randomAccess) {
    yield { name, path: compression === 'none' ? file.localPath : null, bytes: content };
    return;
  }
  if (file.localPath !== null && compression === 'none') {
    yield* inPlace(file, file.localPath, pass, signal);
    return;
  }
  await using copy = await spool(content(), options.temporaryDirectory, signal);
  yield { name, path: copy.path, bytes: () => copy.bytes(signal) };
}

/** A local file that is read in pieces where it stands: its content is recorded first, and it must be the same file afterwards. */
async function* inPlace(
  file: RawFile,
  path: string,
  pass: Pass,
  signal: AbortSignal,
): AsyncGenerator<SourceFile, void, undefined> {
  const before = await stateOf(path);
  for await (const _ of pass.read(file, signal));
  yield { name: file.name, path, bytes: () => file.bytes(signal, null) };
  const after = await stateOf(path);
  if (after.ino !== before.ino || after.size !== before.size || after.mtimeNs !== before.mtimeNs)
    throw sourceChanged(file.name, 'it was written to or replaced while it was read');
}

async function stateOf(path: string) {
  await using file = await openRegular(path);
  return await file.stat();
}

interface Seen {
  readonly sha256: string;
  readonly bytes: number;
  readonly identity: ServerIdentity | null;
}

/** What this run has seen of a source; whatever it sees later must be the same. */
class ContentRecord {
  readonly #name: string;
  readonly #proof: Proof;
  #complete: ReadonlyMap<string, Seen> | null = null;
  #expected: ReadonlyMap<string, ServerIdentity | null> | null = null;

  constructor(name: string, proof: Proof) {
    this.#name = name;
    this.#proof = proof;
  }

  pass(): Pass {
    return new Pass(this.#name, this.#proof, this.#complete, this.#expected, (seen) => {
      this.#complete ??= seen;
    });
  }

  expectIdentities(identities: ReadonlyMap<string, ServerIdentity | null>): void {
    this.#expected = identities;
  }

  /** Of what was read to its end, or null if nothing was yet. */
  fingerprint(byIdentity: boolean): Fingerprint | null {
    if (!this.#complete) return null;
    const bytes = [...this.#complete.values()].reduce((sum, seen) => sum + seen.bytes, 0);
    const entries = [...this.#complete];
    const [only] = entries.length === 1 ? entries : [];
    if (this.#proof.sha256 !== null || !byIdentity) {
      return {
        kind: 'content',
        value: only ? only[1].sha256 : digestOf(entries.map(([name, seen]) => [name, seen.sha256, seen.bytes])),
        bytes,
      };
    }
    return identityFingerprint(entries.map(([name, seen]) => [name, seen.identity]));
  }

  /** Of what the server says, or null if it says too little. */
  identityFingerprint(): Fingerprint | null {
    return this.#expected ? identityFingerprint([...this.#expected]) : null;
  }
}

function identityFingerprint(entries: readonly (readonly [string, ServerIdentity | null])[]): Fingerprint {
  const known = entries.flatMap(([name, identity]) => (identity ? [{ name, ...identity }] : []));
  if (known.length < entries.length || !known[0]) return unknownFingerprint;
  const value = known.length === 1 ? known[0].value : digestOf(known.map((file) => [file.name, file.value]));
  const sizes = known.map((file) => file.bytes);
  const bytes = sizes.reduce((sum, size) => (sum === null || size === null ? null : sum + size), 0);
  return { kind: 'etag', value, bytes };
}

function digestOf(parts: readonly (readonly (string | number)[])[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** One reading of all files. */
class Pass {
  readonly #name: string;
  readonly #proof: Proof;
  readonly #earlier: ReadonlyMap<string, Seen> | null;
  readonly #expected: ReadonlyMap<string, ServerIdentity | null> | null;
  readonly #onFinish: (seen: ReadonlyMap<string, Seen>) => void;
  readonly #seen = new Map<string, Seen>();
  #started = 0;

  constructor(
    name: string,
    proof: Proof,
    earlier: ReadonlyMap<string, Seen> | null,
    expected: ReadonlyMap<string, ServerIdentity | null> | null,
    onFinish: (seen: ReadonlyMap<string, Seen>) => void,
  ) {
    this.#name = name;
    this.#proof = proof;
    this.#earlier = earlier;
    this.#expected = expected;
    this.#onFinish = onFinish;
  }

  /** The file's bytes; throws in place of their end if they are not what they must be. */
  async *read(file: RawFile, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
    this.#started++;
    const earlier = this.#earlier?.get(file.name);
    if (this.#earlier && !earlier) throw sourceChanged(this.#name, `${file.name} is new`);
    if (this.#expected && !this.#expected.has(file.name)) throw sourceChanged(this.#name, `${file.name} is new`);
    const raw = file.bytes(signal, earlier?.identity ?? this.#expected?.get(file.name) ?? null);
    const hash = createHash('sha256');
    let bytes = 0;
    const promised = this.#proof.sizeBytes;
    for await (const chunk of raw) {
      hash.update(chunk);
      bytes += chunk.length;
      if (promised !== null && bytes > promised)
        throw this.#notAsPromised(file, `it has more than the ${promised} bytes of sizeBytes`);
      yield chunk;
    }
    const sha256 = hash.digest('hex');
    if (promised !== null && bytes !== promised)
      throw this.#notAsPromised(file, `it has ${bytes} bytes, sizeBytes says ${promised}`);
    if (this.#proof.sha256 !== null && sha256 !== this.#proof.sha256)
      throw this.#notAsPromised(file, `its sha256 is ${sha256}, the configuration says ${this.#proof.sha256}`);
    if (earlier && earlier.sha256 !== sha256)
      throw sourceChanged(file.name, 'this reading gave other bytes than the one before');
    this.#seen.set(file.name, { sha256, bytes, identity: raw.identity });
  }

  /** To be called after the last file; a pass that left files unread is none. */
  finish(): void {
    if (this.#seen.size < this.#started || this.#seen.size === 0) return;
    for (const name of [...(this.#earlier ?? this.#expected ?? new Map()).keys()]) {
      if (!this.#seen.has(name)) throw sourceChanged(this.#name, `${name} is gone`);
    }
    this.#onFinish(this.#seen);
  }

  #notAsPromised(file: RawFile, how: string) {
    return loaderError('LOAD_SOURCE_DIGEST', `${file.name} is not what the configuration promises: ${how}`);
  }
}
