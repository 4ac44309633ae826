import * as z from 'zod/mini';
import { serviceError } from '../errors.ts';
import type { Principal } from '../roles.ts';
import { targetOf } from '../run-rows.ts';
import type { RunTarget } from '../run-types.ts';

/** An id of a row: digits. */
export const idSchema = z.string().check(z.regex(/^\d{1,19}$/));

/** 1 to 200, as queries have it. */
export const pageLimit = z.string().check(z.regex(/^(?:[1-9]\d?|1\d\d|200)$/, 'takes a number from 1 to 200'));

/** `file`, or `record:ID`. */
export const targetSchema = z.string().check(z.regex(/^(?:file|record:\d{1,19})$/, 'takes file or record:ID'));

export function parsedTarget(text: string | undefined): RunTarget {
  return targetOf(text ?? 'file');
}

/** Name of whoever asks; these routes let nobody through without one. */
export function askerOf(principal: Principal | null): string {
  return knownPrincipal(principal).name;
}

export function knownPrincipal(principal: Principal | null): Principal {
  if (principal) return principal;
  throw serviceError('SERVICE_UNAUTHENTICATED', 'this needs a bearer token');
}
