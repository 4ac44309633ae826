import * as z from 'zod/mini';

/** How one kind of setting is read from text, checked, and described. */
export interface Kind<T> {
  /** What the setting takes, for help and errors: "an integer from 1 to 65535". */
  readonly takes: string;
  /** Shown after the flag in help; null for a flag without a value. */
  readonly placeholder: string | null;
  /** Checks the value, from whichever source. */
  readonly schema: z.ZodMiniType<T>;
  /** Turns text (flag or environment) into what `schema` checks. */
  fromText(text: string): unknown;
}

/** Any non-empty text. */
export function text(placeholder = 'TEXT'): Kind<string> {
  return {
    takes: 'a non-empty text',
    placeholder,
    schema: z.string().check(z.minLength(1)),
    fromText: (value) => value,
  };
}

/** Text that may be empty, for passwords. */
export function secretText(): Kind<string> {
  return { takes: 'a text', placeholder: 'TEXT', schema: z.string(), fromText: (value) => value };
}

/** A path of a file or folder. */
export function path(placeholder = 'FILE'): Kind<string> {
  return { ...text(placeholder), takes: 'a path' };
}

/** An integer within bounds. */
export function integer(min: number, max: number, placeholder = 'N'): Kind<number> {
  return {
    takes: `an integer from ${min} to ${max}`,
    placeholder,
    schema: z.int().check(z.gte(min), z.lte(max)),
    fromText: (value) => (/^-?\d{1,15}$/.test(value) ? Number(value) : value),
  };
}

/** One of a fixed set of words. */
export function choice<const Words extends readonly [string, ...string[]]>(...words: Words): Kind<Words[number]> {
  return {
    takes: `one of ${words.join(', ')}`,
    placeholder: words.join('|'),
    schema: z.enum(words),
    fromText: (value) => value,
  };
}

/** On or off. As a flag it takes no value; `--no-NAME` turns it off. */
export function toggle(): Kind<boolean> {
  return {
    takes: 'true or false',
    placeholder: null,
    schema: z.boolean(),
    fromText: (value) => (value === 'true' ? true : value === 'false' ? false : value),
  };
}

/** Several texts: a flag given again and again, or a comma-separated variable. */
export function list(placeholder = 'NAME'): Kind<readonly string[]> {
  return {
    takes: 'names separated by commas',
    placeholder,
    schema: z.readonly(z.array(z.string().check(z.minLength(1)))),
    fromText: (value) => value.split(',').map((part) => part.trim()),
  };
}
