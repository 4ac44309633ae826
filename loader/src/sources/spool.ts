import { mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileFailure } from './failure.ts';
import { openRegular } from './file-source.ts';

export interface Spooled extends AsyncDisposable {
  readonly path: string;
  bytes(signal: AbortSignal): AsyncIterable<Buffer>;
}

/** Copies bytes into a temporary file that only this account can read; disposing removes it. */
export async function spool(bytes: AsyncIterable<Buffer>, directory: string, signal: AbortSignal): Promise<Spooled> {
  let folder: string;
  try {
    folder = await mkdtemp(join(directory, 'tableset-'));
  } catch (error) {
    throw fileFailure(error, directory);
  }
  const path = join(folder, 'content');
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    await using file = await open(path, 'wx', 0o600);
    for await (const chunk of bytes) {
      signal.throwIfAborted();
      await writeAll(file, chunk, path);
    }
  } catch (error) {
    await remove().catch(() => {
      // What made the copy fail is what counts.
    });
    throw error;
  }
  return { path, bytes: (stop) => readBack(path, stop), [Symbol.asyncDispose]: remove };
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, chunk: Buffer, path: string): Promise<void> {
  try {
    await file.writeFile(chunk);
  } catch (error) {
    throw fileFailure(error, path);
  }
}

async function* readBack(path: string, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  await using file = await openRegular(path);
  for (;;) {
    signal.throwIfAborted();
    const chunk = await file.read();
    if (chunk.length === 0) return;
    yield chunk;
  }
}
