import * as z from 'zod/mini';

/**
 * Adds the meaning that JSON Schema and docs show. The registry is written to directly: `check(z.describe())` would make each schema
 * twice, and making them is most of what the configuration costs a short run.
 */
export function described<Schema extends z.ZodMiniType>(schema: Schema, meaning: string, standard?: unknown): Schema {
  z.globalRegistry.add(schema, { description: meaning, ...(standard === undefined ? {} : { default: standard }) });
  return schema;
}

/** A text of at least one character. */
export function nonEmpty(meaning: string): z.ZodMiniString {
  return described(z.string().check(z.minLength(1)), meaning);
}

/** The name of a table or column: servers allow 64 characters. */
export function identifier(meaning: string): z.ZodMiniString {
  return described(z.string().check(z.minLength(1), z.maxLength(64)), meaning);
}

/** An integer from `min` to `max`. */
export function whole(min: number, max: number, meaning: string): z.ZodMiniNumber {
  return described(z.int().check(z.gte(min), z.lte(max)), meaning);
}

/** Exactly one character, as a CSV delimiter is. */
export function character(meaning: string): z.ZodMiniString {
  return described(z.string().check(z.length(1)), meaning);
}

/** One of a fixed set of words. */
export function word<const Words extends readonly string[]>(words: Words, meaning: string) {
  return described(z.enum(words), meaning);
}

/**
 * A deletion budget: rows, percent or both.
 * @param whose rows the percentage is of
 */
export function deletionLimit(whose: string, meaning: string, standard?: unknown) {
  const rows = z.optional(whole(0, Number.MAX_SAFE_INTEGER, 'Most rows that one run may delete.'));
  const percent = z.optional(
    described(z.number().check(z.gte(0), z.lte(100)), `Most of ${whose} rows that one run may delete, in percent.`),
  );
  return z.optional(described(z.strictObject({ rows, percent }), meaning, standard));
}
