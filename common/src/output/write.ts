import { writeSync } from 'node:fs';

/** Writes all of the text to a file descriptor before returning, also to a slow pipe; a reader that went away is no error. */
export function writeAll(fd: number, text: string): void {
  let bytes = Buffer.from(text, 'utf8');
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(fd, bytes));
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : null;
      if (code === 'EPIPE') return;
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(sleeper, 0, 0, 5);
    }
  }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));
