/** One place of the sources that a build has otherwise. */
export interface SourceChange {
  /** From the checkout's root. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/**
 * The text of a source with its changes made.
 * @throws Error if a text that is to be replaced is not there exactly once: the source has moved on, and the build would not be what it is taken for
 */
export function changeSource(file: string, text: string, changes: readonly SourceChange[]): string {
  let changed = text;
  for (const change of changes) {
    if (change.file !== file) continue;
    const parts = changed.split(change.find);
    if (parts.length !== 2)
      throw new Error(`${file} has this ${parts.length - 1} times, not once: ${JSON.stringify(change.find)}`);
    changed = parts.join(change.replace);
  }
  return changed;
}

/** A test cannot wait for half a minute of silence at each packet: the same code with shorter deadlines. */
export const shortDeadlines: readonly SourceChange[] = [
  { file: 'common/src/database/silence.ts', find: 'silenceMs = 30_000', replace: 'silenceMs = 1_500' },
  // While a file is sent it is the server that notices a silence: it waits so long for the next packet.
  { file: 'common/src/database/connect.ts', find: 'net_read_timeout=600', replace: 'net_read_timeout=3' },
  {
    file: 'common/src/database/driver.ts',
    find: 'const connectTimeoutMs = 10_000',
    replace: 'const connectTimeoutMs = 2_000',
  },
  // A store's server that is away.
  { file: 'loader/src/config/archive-sections.ts', find: 'waitSeconds: 60,', replace: 'waitSeconds: 5,' },
  { file: 'loader/src/stores/s3-client.ts', find: 'silenceTimeoutMs: 60_000', replace: 'silenceTimeoutMs: 1_500' },
  { file: 'loader/src/stores/s3-client.ts', find: 'attempts: 6', replace: 'attempts: 3' },
  { file: 'loader/src/stores/s3-client.ts', find: 'retryDelayMs: 200', replace: 'retryDelayMs: 20' },
];
