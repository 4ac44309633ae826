import { loaderError } from '../../errors.ts';
import type { SourceFormat } from '../encoded-rows.ts';

/** Bytes at the start that sniffText wants to see, or the whole source. */
export const SNIFF_BYTES = 1024;

const magics: readonly { readonly name: string; readonly bytes: readonly number[] }[] = [
  { name: 'gzip data', bytes: [0x1f, 0x8b, 0x08] },
  { name: 'Zstandard data', bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  { name: 'a ZIP archive (also .xlsx)', bytes: [0x50, 0x4b, 0x03, 0x04] },
  { name: 'a Parquet file', bytes: [0x50, 0x41, 0x52, 0x31] },
  { name: 'bzip2 data', bytes: [0x42, 0x5a, 0x68, 0x39, 0x31, 0x41] },
  { name: 'xz data', bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a] },
];

/**
 * Looks at the first bytes of a text source.
 * @returns bytes of the byte order mark to skip: 3 or 0
 * @throws LOAD_ENCODING for UTF-16 and UTF-32, with or without mark; LOAD_FORMAT_MISMATCH for compressed and binary formats
 */
export function sniffText(head: Uint8Array, name: string, format: SourceFormat): number {
  for (const magic of magics) {
    if (magic.bytes.every((value, i) => head[i] === value)) {
      throw loaderError('LOAD_FORMAT_MISMATCH', `${name} is ${magic.name}, not ${format}`);
    }
  }
  const utf16 = utf16Kind(head);
  if (utf16 !== null)
    throw loaderError('LOAD_ENCODING', `${name} is ${utf16}, not UTF-8`, {
      hint: `convert it: iconv -f ${utf16.split(' ')[0]} -t UTF-8`,
    });
  return head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf ? 3 : 0;
}

function utf16Kind(head: Uint8Array): string | null {
  const [a, b, c, d] = head;
  if (a === 0xff && b === 0xfe) return c === 0 && d === 0 ? 'UTF-32LE' : 'UTF-16LE';
  if (a === 0xfe && b === 0xff) return 'UTF-16BE';
  if (a === 0 && b === 0 && c === 0xfe && d === 0xff) return 'UTF-32BE';
  const size = Math.min(head.length, SNIFF_BYTES) & ~1;
  if (size < 4) return null;
  let even = 0;
  let odd = 0;
  for (let i = 0; i < size; i += 2) {
    if (head[i] === 0) even++;
    if (head[i + 1] === 0) odd++;
  }
  // Delimiters, digits and line ends have a NUL for their other half, so even Chinese text shows many on one side and none on the other.
  if (odd * 8 >= size / 2 && even * 4 < odd) return 'UTF-16LE (without a byte order mark)';
  if (even * 8 >= size / 2 && odd * 4 < even) return 'UTF-16BE (without a byte order mark)';
  return null;
}
