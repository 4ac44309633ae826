import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compressionByEnding, decompress } from '../../src/sources/decompress.ts';

const limits = { maxDecompressedBytes: 1 << 30, maxDecompressionRatio: 1000 };

async function* pieces(content: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < content.length; start += size) yield content.subarray(start, start + size);
}

async function inflate(
  content: Buffer,
  compression: 'gzip' | 'zstd',
  size = content.length || 1,
  own = limits,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of decompress(pieces(content, size), compression, 'x', own)) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

const text = Buffer.from(Array.from({ length: 800 }, (_, row) => `${row},name ${row * 7}\n`).join(''));

describe.each([
  ['gzip' as const, gzipSync],
  ['zstd' as const, zstdCompressSync],
])('%s', (compression, compress) => {
  const whole = compress(text);

  test('gives the content back, however it is cut into pieces', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: whole.length }), async (size) => {
        expect((await inflate(whole, compression, size)).equals(text)).toBe(true);
      }),
      { numRuns: 15 },
    );
  });

  test('joins members that follow one another, wherever the pieces end', async () => {
    const three = Buffer.concat([whole, compress(Buffer.alloc(0)), whole]);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: three.length }), async (size) => {
        expect((await inflate(three, compression, size)).equals(Buffer.concat([text, text]))).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  test('refuses data that is cut anywhere', async () => {
    const two = Buffer.concat([whole, whole]);
    const cut = fc.integer({ min: 0, max: two.length - 1 }).filter((end) => end !== whole.length);
    await fc.assert(
      fc.asyncProperty(cut, fc.integer({ min: 1, max: two.length }), async (end, size) => {
        await expect(inflate(two.subarray(0, end), compression, size)).rejects.toMatchObject({
          code: 'LOAD_SOURCE_CORRUPT',
        });
      }),
      { numRuns: 40 },
    );
  });

  test.each([
    ['text', Buffer.from('id,name\n1,x\n')],
    ['zeros', Buffer.alloc(100)],
    ['one zero', Buffer.alloc(1)],
  ])('refuses %s after the end, wherever the pieces end', async (_name, garbage) => {
    const content = Buffer.concat([whole, garbage]);
    for (const size of [content.length, whole.length, whole.length - 1, 1000, 1]) {
      await expect(inflate(content, compression, size)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CORRUPT' });
    }
  });

  test.each([
    ['text', text],
    ['a single byte of another kind', Buffer.from('x')],
    ['data of the other compression', compression === 'gzip' ? zstdCompressSync(text) : gzipSync(text)],
  ])('says so of %s, wherever the pieces end', async (_name, content) => {
    for (const size of [content.length, 1]) {
      await expect(inflate(content, compression, size)).rejects.toMatchObject({
        code: 'LOAD_FORMAT_MISMATCH',
        message: `x is not ${compression}, although compression: ${compression} says so`,
      });
    }
  });

  test('refuses a flipped bit', async () => {
    const damaged = Buffer.from(whole);
    damaged.writeUInt8(damaged.readUInt8(damaged.length >> 1) ^ 4, damaged.length >> 1);
    // zstd frames made without a checksum may decode to something else; one that was made by the zstd program has it.
    const outcome = await inflate(damaged, compression).catch((error: unknown) => error);
    if (compression === 'gzip') expect(outcome).toMatchObject({ code: 'LOAD_SOURCE_CORRUPT' });
    else expect(Buffer.isBuffer(outcome) && outcome.equals(text)).toBe(false);
  });

  test('stops a bomb at its limit without holding what came out', async () => {
    const bomb = compress(Buffer.alloc(300 * 1024 * 1024));
    const before = process.memoryUsage().arrayBuffers;
    let seen = 0;
    let peak = 0;
    const run = async () => {
      for await (const part of decompress(pieces(bomb, 64 * 1024), compression, 'bomb', {
        ...limits,
        maxDecompressionRatio: 100,
      })) {
        seen += part.length;
        peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
      }
    };
    await expect(run()).rejects.toMatchObject({ code: 'LOAD_SOURCE_TOO_LARGE', exit: 3 });
    expect(seen).toBeLessThan(258 * 1024 * 1024);
    expect(peak).toBeLessThan(64 * 1024 * 1024);
    await expect(
      inflate(compress(text), compression, 100, { ...limits, maxDecompressedBytes: 1000 }),
    ).rejects.toMatchObject({ code: 'LOAD_SOURCE_TOO_LARGE' });
  });

  test('passes on what breaks the input, and closes it when the reader leaves', async () => {
    let closed = 0;
    async function* breaking() {
      try {
        yield whole.subarray(0, 100);
        throw new Error('broken');
      } finally {
        closed++;
      }
    }
    const run = async () => {
      for await (const _ of decompress(breaking(), compression, 'x', limits));
    };
    await expect(run()).rejects.toThrow('broken');
    async function* endless() {
      try {
        for (;;) yield whole;
      } finally {
        closed++;
      }
    }
    for await (const _ of decompress(endless(), compression, 'x', limits)) break;
    expect(closed).toBe(2);
  });
});

test('the ending tells the compression', () => {
  expect(['a.csv', 'a.csv.gz', 'A.CSV.ZST', 'a.gz.csv'].map(compressionByEnding)).toEqual([
    'none',
    'gzip',
    'zstd',
    'none',
  ]);
});

test('plain text under a compressed name is told by its name', async () => {
  const run = async () => {
    for await (const _ of decompress(pieces(text, 100), 'gzip', 'rows.csv.GZ', limits));
  };
  await expect(run()).rejects.toThrow('rows.csv.GZ is not gzip, although its name says so');
});

test('a zstd frame that decoders skip may come first', async () => {
  const skipped = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9]);
  expect((await inflate(Buffer.concat([skipped, zstdCompressSync(text)]), 'zstd')).equals(text)).toBe(true);
});
