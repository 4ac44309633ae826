import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FileSourceSettings } from '../../src/config/source-settings.ts';
import { byteSource, noProof, readAll, testContext } from './read-source.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sources-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const signal = () => AbortSignal.timeout(20_000);
const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');

async function open(path: string, more: Partial<FileSourceSettings> = {}) {
  return await byteSource(
    { kind: 'file', path: join(folder, path), isPattern: /[*]/.test(path), proof: noProof, ...more },
    testContext(folder),
  );
}

test('a file is read whole, in buffers of at most 256 KiB, and its fingerprint is the hash of its content', async () => {
  const content = Buffer.alloc(1_000_000, 'abcdefgh\n');
  await writeFile(join(folder, 'a.csv'), content);
  const source = await open('a.csv');
  const hash = createHash('sha256');
  let longest = 0;
  for await (const file of source.open(signal())) {
    expect(file.path).toBe(join(folder, 'a.csv'));
    for await (const chunk of file.bytes()) {
      hash.update(chunk);
      longest = Math.max(longest, chunk.length);
    }
  }
  expect(hash.digest('hex')).toBe(sha256(content));
  expect(longest).toBe(256 * 1024);
  expect(await source.fingerprint(signal())).toEqual({ kind: 'content', value: sha256(content), bytes: 1_000_000 });
  expect(await (await open('a.csv')).fingerprint(signal())).toEqual({
    kind: 'content',
    value: sha256(content),
    bytes: 1_000_000,
  });
});

test('a pattern gives its files in order of their names, decompressed, without hidden ones', async () => {
  await mkdir(join(folder, 'sub'));
  await mkdir(join(folder, '.hidden'));
  for (const name of ['b.csv', 'a.csv', '.c.csv', '.hidden/d.csv', 'sub/e.csv', 'f.txt'])
    await writeFile(join(folder, name), name);
  await writeFile(join(folder, 'Z.csv.gz'), gzipSync('zipped'));
  expect(await readAll(await open('*.csv'))).toEqual([
    [join(folder, 'a.csv'), 'a.csv'],
    [join(folder, 'b.csv'), 'b.csv'],
  ]);
  expect(
    (await readAll(await open('**/*.csv*'))).map(([name, content]) => [name.slice(folder.length + 1), content]),
  ).toEqual([
    ['Z.csv.gz', 'zipped'],
    ['a.csv', 'a.csv'],
    ['b.csv', 'b.csv'],
    ['sub/e.csv', 'sub/e.csv'],
  ]);
});

test('files of a mounted ConfigMap are found once, through its links', async () => {
  await mkdir(join(folder, '..2026_01_01'));
  await writeFile(join(folder, '..2026_01_01', 'a.csv'), 'a');
  await symlink('..2026_01_01', join(folder, '..data'));
  await symlink('..data/a.csv', join(folder, 'a.csv'));
  for (const pattern of ['*.csv', '**/*.csv'])
    expect(await readAll(await open(pattern))).toEqual([[join(folder, 'a.csv'), 'a']]);
  expect(await readAll(await open('a.csv'))).toHaveLength(1);
});

test('a ConfigMap that is replaced between two passes is noticed', async () => {
  for (const [version, content] of [
    ['..1', 'old'],
    ['..2', 'new'],
  ] as const) {
    await mkdir(join(folder, version));
    await writeFile(join(folder, version, 'a.csv'), content);
  }
  await symlink('..1', join(folder, '..data'));
  await symlink('..data/a.csv', join(folder, 'a.csv'));
  const source = await open('a.csv');
  await readAll(source);
  await readAll(source);
  await symlink('..2', join(folder, '..next'));
  await rename(join(folder, '..next'), join(folder, '..data'));
  await expect(readAll(source)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED', exit: 1 });
});

describe('what is refused', () => {
  test.each([
    ['a file that is not there', 'none.csv', 'LOAD_SOURCE_MISSING'],
    ['a pattern without a match', '*.none', 'LOAD_SOURCE_MISSING'],
    ['a pattern in a folder that is not there', 'none/*.csv', 'LOAD_SOURCE_MISSING'],
    ['a folder', 'folder', 'LOAD_SOURCE_UNREADABLE'],
    ['a pipe, without waiting for its other end', 'pipe.csv', 'LOAD_SOURCE_UNREADABLE'],
    ['a folder among the matches', 'folde*', 'LOAD_SOURCE_UNREADABLE'],
    ['a link out of the folder of a pattern', 'lin*.csv', 'LOAD_SOURCE_UNREADABLE'],
    ['a link in a circle', 'circle.csv', 'LOAD_SOURCE_UNREADABLE'],
  ])('%s', async (_name, path, code) => {
    await mkdir(join(folder, 'folder'));
    execFileSync('mkfifo', [join(folder, 'pipe.csv')]);
    await symlink('/etc/hostname', join(folder, 'link.csv'));
    await symlink('circle.csv', join(folder, 'circle.csv'));
    await expect(readAll(await open(path))).rejects.toMatchObject({ code, exit: 2 });
  });

  test('a device', async () => {
    await expect(readAll(await open('', { path: '/dev/zero' }))).rejects.toMatchObject({
      code: 'LOAD_SOURCE_UNREADABLE',
    });
  });
});

describe('a file that changes', () => {
  const size = 1024 * 1024;
  test.each([
    ['grows', (path: string) => appendFile(path, 'more')],
    ['is cut', (path: string) => truncate(path, 600 * 1024)],
    ['is written over in place', (path: string) => writeFile(path, Buffer.alloc(size, 'b'))],
  ])('%s while it is read: never the end of data', async (_name, change) => {
    const path = join(folder, 'a.csv');
    await writeFile(path, Buffer.alloc(size, 'a'));
    const source = await open('a.csv');
    const run = async () => {
      for await (const file of source.open(signal())) {
        let first = true;
        for await (const _ of file.bytes()) {
          if (first) await change(path);
          first = false;
        }
      }
    };
    await expect(run()).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
  });

  test('between its fingerprint and its reading is noticed', async () => {
    await writeFile(join(folder, 'a.csv'), 'one');
    const source = await open('a.csv');
    await source.fingerprint(signal());
    await writeFile(join(folder, 'a.csv'), 'two');
    await expect(readAll(source)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
  });

  test('a file that joins or leaves a pattern between two passes is noticed', async () => {
    await writeFile(join(folder, 'a.csv'), 'a');
    await writeFile(join(folder, 'b.csv'), 'b');
    const source = await open('*.csv');
    await readAll(source);
    await rm(join(folder, 'b.csv'));
    await expect(readAll(source)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
    await writeFile(join(folder, 'b.csv'), 'b');
    await readAll(source);
    await writeFile(join(folder, 'c.csv'), 'c');
    await expect(readAll(source)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
  });
});

test('the fingerprint of several files changes with any of them, with their names and with their order', async () => {
  const values = new Set<string>();
  for (const [a, b] of [
    ['1', '2'],
    ['2', '1'],
    ['12', ''],
    ['1', '3'],
  ] as const) {
    await writeFile(join(folder, 'a.csv'), a);
    await writeFile(join(folder, 'b.csv'), b);
    values.add((await (await open('*.csv')).fingerprint(signal())).value);
  }
  expect(values.size).toBe(4);
});

test.each([
  ['sha256', { sha256: sha256('other'), sizeBytes: null }],
  ['a larger size', { sha256: null, sizeBytes: 8 }],
  ['a smaller size', { sha256: null, sizeBytes: 6 }],
])('content that is not as promised by %s is refused', async (_name, proof) => {
  await writeFile(join(folder, 'a.csv'), 'content');
  await expect(readAll(await open('a.csv', { proof }))).rejects.toMatchObject({ code: 'LOAD_SOURCE_DIGEST', exit: 3 });
  expect(await readAll(await open('a.csv', { proof: { sha256: sha256('content'), sizeBytes: 7 } }))).toHaveLength(1);
});

test('for random access a plain file stays where it is and a compressed one is copied, and the copy goes away', async () => {
  await writeFile(join(folder, 'a.bin'), 'plain');
  await writeFile(join(folder, 'b.bin.gz'), gzipSync('zipped'));
  const source = await open('*.bin*');
  const seen: [string, string][] = [];
  for await (const file of source.open(signal(), { randomAccess: true })) {
    seen.push([file.path ?? '', await readFile(file.path ?? '', 'utf8')]);
  }
  expect(seen.map(([, content]) => content)).toEqual(['plain', 'zipped']);
  expect(seen[0]?.[0]).toBe(join(folder, 'a.bin'));
  expect(await readdir(folder)).toEqual(['a.bin', 'b.bin.gz']);
  expect((await readAll(source, { randomAccess: true })).map(([, content]) => content)).toEqual(['plain', 'zipped']);
  for await (const _ of source.open(signal(), { randomAccess: true })) if ((await readdir(folder)).length > 2) break;
  expect(await readdir(folder)).toEqual(['a.bin', 'b.bin.gz']);
});

test('a file that is replaced while it is read in place is noticed', async () => {
  await writeFile(join(folder, 'a.bin'), 'one');
  const run = async () => {
    for await (const _ of (await open('a.bin')).open(signal(), { randomAccess: true })) {
      await writeFile(join(folder, 'next'), 'one');
      await rename(join(folder, 'next'), join(folder, 'a.bin'));
    }
  };
  await expect(run()).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
});

test('a stop ends the reading with its reason', async () => {
  await writeFile(join(folder, 'a.csv'), Buffer.alloc(2_000_000));
  const stop = new AbortController();
  const reason = new Error('stop');
  const run = async () => {
    for await (const file of (await open('a.csv')).open(stop.signal))
      for await (const _ of file.bytes()) stop.abort(reason);
  };
  await expect(run()).rejects.toBe(reason);
});
