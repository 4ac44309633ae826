import { constants } from 'node:fs';
import { type FileHandle, glob, open, realpath } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { AppError } from '@tableset/common/errors.ts';
import type { FileSourceSettings } from '../config/source-settings.ts';
import { loaderError } from '../errors.ts';
import { fileFailure, sourceChanged } from './failure.ts';
import type { RawBytes, RawFile, RawFiles } from './raw-files.ts';

const readBytes = 256 * 1024;
const filesMax = 10_000;

/** Local files: one path, or all that a pattern matches, in order of their paths. */
export function fileFiles(settings: FileSourceSettings): RawFiles {
  return {
    describe: () => settings.path,
    identities: null,
    async list(signal) {
      const paths = settings.isPattern ? await matches(settings.path, signal) : [settings.path];
      return paths.map(rawFile);
    },
  };
}

/**
 * The files that a pattern matches. Names that start with a dot are left out, so that of a mounted ConfigMap each file is found
 * once, by its link, and not again in the `..data` folder that the link leads to.
 */
async function matches(pattern: string, signal: AbortSignal): Promise<string[]> {
  const root = fixedFolder(pattern);
  const found: string[] = [];
  try {
    const realRoot = await realpath(root);
    for await (const path of glob(pattern)) {
      signal.throwIfAborted();
      if (
        path
          .slice(root.length)
          .split(sep)
          .some((part) => part.startsWith('.') && part !== '.')
      )
        continue;
      if (found.length >= filesMax)
        throw loaderError('LOAD_SOURCE_TOO_LARGE', `${pattern} matches more than ${filesMax} files`, {
          hint: 'Use a narrower pattern.',
        });
      const real = await realpath(path);
      if (real !== realRoot && !real.startsWith(realRoot === sep ? sep : realRoot + sep)) {
        throw loaderError('LOAD_SOURCE_UNREADABLE', `${path} is a link out of ${root}`, {
          hint: 'Name the file itself as the source, if it is meant.',
        });
      }
      found.push(path);
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error instanceof AppError ? error : fileFailure(error, pattern);
  }
  if (found.length === 0) throw loaderError('LOAD_SOURCE_MISSING', `${pattern} matches no file`);
  // By code unit, so that the order does not depend on the locale.
  return found.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** The folder before the first part of a pattern that is not plain. */
function fixedFolder(pattern: string): string {
  const special = pattern.search(/[*?[{]/);
  return resolve(dirname(`${pattern.slice(0, special)}x`));
}

function rawFile(path: string): RawFile {
  return {
    name: path,
    localPath: path,
    bytes: (signal): RawBytes => ({ identity: null, [Symbol.asyncIterator]: () => readFile(path, signal) }),
  };
}

async function* readFile(path: string, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  await using file = await openRegular(path);
  const before = await file.stat();
  let next = file.read();
  let total = 0;
  try {
    for (;;) {
      const chunk = await next;
      signal.throwIfAborted();
      if (chunk.length === 0) break;
      total += chunk.length;
      if (total > before.size) throw sourceChanged(path, 'it grew while it was read');
      // The next piece is on its way while this one is worked on.
      next = file.read();
      yield chunk;
    }
  } finally {
    // Whoever stops early must not close the file under a read that is still on its way.
    await next.catch(() => {});
  }
  const after = await file.stat();
  if (total !== before.size || after.size !== before.size || after.mtimeNs !== before.mtimeNs) {
    throw sourceChanged(
      path,
      `it had ${before.size} bytes when it was opened and ${after.size} at its end, of which ${total} were read`,
    );
  }
}

interface FileState {
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ino: bigint;
}

interface OpenFile extends AsyncDisposable {
  /** The next piece, empty at the end. It is overwritten by the read after the next. */
  read(): Promise<Buffer>;
  stat(): Promise<FileState>;
}

/** Opens a regular file; never waits for the other end of a pipe. */
export async function openRegular(path: string): Promise<OpenFile> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw fileFailure(error, path);
  }
  const failing = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      throw fileFailure(error, path);
    });
  // Two buffers take turns, so that memory stays flat: one is filled while the other is worked on.
  const buffers = [Buffer.allocUnsafeSlow(readBytes), Buffer.allocUnsafeSlow(readBytes)] as const;
  let turn = 0;
  const file: OpenFile = {
    async read() {
      const buffer = turn++ % 2 === 0 ? buffers[0] : buffers[1];
      const { bytesRead } = await failing(handle.read(buffer, 0, readBytes, null));
      return buffer.subarray(0, bytesRead);
    },
    async stat() {
      const { size, mtimeNs, ino } = await failing(handle.stat({ bigint: true }));
      return { size: Number(size), mtimeNs, ino };
    },
    [Symbol.asyncDispose]: () => handle.close(),
  };
  try {
    const stat = await failing(handle.stat());
    if (!stat.isFile()) {
      const kind = stat.isDirectory() ? 'a folder' : stat.isFIFO() ? 'a pipe' : 'not a regular file';
      throw loaderError('LOAD_SOURCE_UNREADABLE', `${path} is ${kind}`, {
        ...(stat.isDirectory() ? { hint: `Use a pattern such as ${path}/*.csv.` } : {}),
      });
    }
    return file;
  } catch (error) {
    await handle.close();
    throw error;
  }
}
