import * as z from 'zod/mini';
import { invalid } from './archive-filter.ts';

/** How far pages have come. */
export interface PageCursor {
  /** Id of a batch. */
  readonly batch: string;
  /** Of the last row that was given of it; null: all of it was. */
  readonly key: readonly string[] | null;
}

const schema = z.strictObject({
  b: z.string().check(z.regex(/^\d{1,20}$/)),
  k: z.nullable(z.array(z.string()).check(z.minLength(1), z.maxLength(16))),
});

export function cursorText({ batch, key }: PageCursor): string {
  return Buffer.from(JSON.stringify({ b: batch, k: key })).toString('base64url');
}

/** It came from outside, and says nothing but where to go on. @throws AppError SERVICE_REQUEST_INVALID */
export function parseCursor(text: string): PageCursor {
  try {
    const parsed = schema.safeParse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')));
    if (parsed.success) return { batch: parsed.data.b, key: parsed.data.k };
  } catch {
    // Told below.
  }
  throw invalid('cursor', 'takes what `next` of the page before gave');
}
