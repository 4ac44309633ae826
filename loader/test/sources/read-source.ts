import type { SourceSettings } from '../../src/config/source-settings.ts';
import { type ByteSource, createSource, type OpenOptions, type SourceContext } from '../../src/sources/source.ts';

export const noProof = { sha256: null, sizeBytes: null };

export interface TestContext extends SourceContext {
  readonly warnings: string[];
}

/** A context without anything outside, whose waits are short. */
export function testContext(temporaryDirectory: string, more: Partial<SourceContext> = {}): TestContext {
  const warnings: string[] = [];
  return {
    databases: {},
    s3: { forcePathStyle: true },
    temporaryDirectory,
    env: {},
    warn: (message) => warnings.push(message),
    timing: { retryDelayMs: 5, attempts: 3 },
    warnings,
    ...more,
  };
}

/** Makes the source of files, addresses or objects as a load does. */
export async function byteSource(source: SourceSettings, context: SourceContext): Promise<ByteSource> {
  const made = await createSource(
    { source, compression: 'auto', maxDecompressedBytes: 1 << 30, maxDecompressionRatio: 1000 },
    context,
  );
  if (made.kind !== 'bytes') throw new Error('the source gives rows');
  return made;
}

/** Reads every file to its end: name and content, in order. */
export async function readAll(
  source: ByteSource,
  options?: OpenOptions,
  signal = AbortSignal.timeout(20_000),
): Promise<[string, string][]> {
  const files: [string, string][] = [];
  for await (const file of source.open(signal, options)) {
    const parts: Buffer[] = [];
    for await (const chunk of file.bytes()) parts.push(Buffer.from(chunk));
    files.push([file.name, Buffer.concat(parts).toString()]);
  }
  return files;
}
