import type { Source } from '../sources/source.ts';

/** What the source is now, to compare with what was loaded; null if that cannot be told. */
export async function sourceHash(source: Source, signal: AbortSignal): Promise<string | null> {
  const { kind, value } = await source.fingerprint(signal);
  return kind === 'none' ? null : `${kind}:${value}`;
}
