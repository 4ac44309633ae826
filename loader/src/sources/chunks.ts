/** Buffers of this size or more pass as they are; smaller ones are joined. */
export const chunkBytesMin = 64 * 1024;

/** Joins small buffers, which sockets and decompressors give in plenty, so that what follows pays its price per buffer seldom. */
export async function* joinSmall(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  for await (const chunk of bytes) {
    if (waitingBytes === 0 && chunk.length >= chunkBytesMin) {
      yield chunk;
      continue;
    }
    if (chunk.length === 0) continue;
    // A copy, because whoever gave it may use its memory again once the next buffer is asked for.
    waiting.push(Buffer.from(chunk));
    waitingBytes += chunk.length;
    if (waitingBytes >= chunkBytesMin) {
      yield Buffer.concat(waiting, waitingBytes);
      waiting = [];
      waitingBytes = 0;
    }
  }
  if (waitingBytes > 0) yield Buffer.concat(waiting, waitingBytes);
}
