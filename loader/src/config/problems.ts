import { nearestName } from '@tableset/common/settings/nearest.ts';
import type * as z from 'zod/mini';
import type { Complaint } from './load-config.ts';

/** What zod reports of one fault. */
export type Issue = z.core.$ZodIssue;

/**
 * Says each of zod's issues in the words of the file. Values are repeated only where they cannot be secrets.
 * @param root the file's plain values, to show what was given.
 */
export function complaintsOf(issues: readonly Issue[], schema: z.ZodMiniType, root: unknown): Complaint[] {
  return issues.flatMap((issue) => complaint(issue, pathOf(issue), schema, root));
}

function pathOf(issue: Issue): (string | number)[] {
  return issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
}

function complaint(issue: Issue, path: (string | number)[], schema: z.ZodMiniType, root: unknown): Complaint[] {
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = knownKeys(schema, path, valueAt(root, path));
      return issue.keys.map((key) => ({ path: [...path, key], message: unknownKey(key, known), atKey: true }));
    }
    case 'invalid_union':
      return unionComplaints(issue, path, schema, root);
    case 'invalid_key':
      return [{ path, message: `the name ${issue.issues.map(takes).join(' and ')}`, atKey: true }];
    default: {
      const given = valueAt(root, path);
      if (given === undefined) return [{ path, message: `is missing; it ${takes(issue)}` }];
      return [{ path, message: `${takes(issue)}, and was given ${shown(given, path)}` }];
    }
  }
}

/** Of a union's branches, the one that the writer most probably meant: of the given shape, with the fewest faults. */
function unionComplaints(
  issue: z.core.$ZodIssueInvalidUnion,
  path: (string | number)[],
  schema: z.ZodMiniType,
  root: unknown,
): Complaint[] {
  const branches = issue.errors.map((errors) => errors.map((error) => ({ ...error, path: [...path, ...error.path] })));
  const near = branches
    .filter((errors) => !errors.some((error) => error.code === 'invalid_type' && error.path.length === path.length))
    .sort((a, b) => weight(a) - weight(b))[0];
  if (near) return complaintsOf(near, schema, root);
  const kinds = [...new Set(branches.flatMap((errors) => errors.slice(0, 1).map(takes)))];
  const given = valueAt(root, path);
  if (given === undefined) return [{ path, message: 'is missing' }];
  return [{ path, message: `${kinds.join(', or ')}, and was given ${shown(given, path)}` }];
}

/** A key that a branch does not know counts more than one that it misses. */
function weight(errors: readonly Issue[]): number {
  return errors.reduce((sum, error) => sum + (error.code === 'unrecognized_keys' ? 2 * error.keys.length : 1), 0);
}

function takes(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `takes ${typeNames[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `takes ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`;
    case 'too_small':
      if (issue.exact) return `takes exactly ${counted(issue.minimum, issue.origin)}`;
      return issue.origin === 'number' || issue.origin === 'int'
        ? `takes a number of at least ${issue.minimum}`
        : `takes at least ${counted(issue.minimum, issue.origin)}`;
    case 'too_big':
      if (issue.exact) return `takes exactly ${counted(issue.maximum, issue.origin)}`;
      return issue.origin === 'number' || issue.origin === 'int'
        ? `takes a number of at most ${issue.maximum}`
        : `takes at most ${counted(issue.maximum, issue.origin)}`;
    case 'invalid_format':
      // A schema's own words, where it has some.
      if (issue.message.startsWith('takes ')) return issue.message;
      return issue.pattern === undefined ? `takes a ${issue.format}` : `takes text of the form ${issue.pattern}`;
    default:
      return issue.message || 'takes another value';
  }
}

function counted(count: number | bigint, origin: string): string {
  const unit = origin === 'string' ? 'character' : origin === 'array' ? 'entry' : 'key';
  return `${count} ${Number(count) === 1 ? unit : unit === 'entry' ? 'entries' : `${unit}s`}`;
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'an integer',
  boolean: 'true or false',
  object: 'a section of keys',
  record: 'a section of keys',
  array: 'a list',
  null: 'null',
};

function unknownKey(key: string, known: readonly string[]): string {
  const near = nearestName(key, known);
  if (/^(password|passwd|pwd|secret|token|secretAccessKey|accessKeyId|accessKey)$/i.test(key)) {
    const file =
      known.find((name) => name.toLowerCase() === `${key.toLowerCase()}file`) ??
      (/^(password|passwd|pwd)$/i.test(key) ? 'passwordFile' : null);
    return `secrets never stand in this file, which is stored and shown as plain text; ${file ? `give the path of a file with ${file}` : 'give a file or an environment variable'}`;
  }
  const all = known.length > 0 ? `; there are: ${known.join(', ')}` : '';
  return `there is no key ${key} here${near ? `; did you mean ${near}?` : all}`;
}

/** A value for messages: shortened, and hidden where its key or form says that it may be a secret. */
function shown(value: unknown, path: readonly (string | number)[]): string {
  if (/pass|secret|token|key(Id)?$|authorization/i.test(String(path.at(-1) ?? ''))) return 'a value that is not shown';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a section';
  if (typeof value === 'string' && /:\/\/[^/]*@/.test(value)) return 'an address that is not shown';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

export function valueAt(root: unknown, path: readonly (string | number)[]): unknown {
  let value = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    // An own property of a plain value.
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

/** The keys that the schema has at `path`; for unions those of the branch that shares most keys with what was given. */
export function knownKeys(schema: z.ZodMiniType, path: readonly (string | number)[], given: unknown): string[] {
  let candidates: z.core.$ZodType[] = [schema];
  for (const part of path) candidates = candidates.flatMap((candidate) => step(candidate, part));
  const shapes = candidates.flatMap(unwrapped).flatMap((candidate) => {
    const { def } = (candidate as z.core.$ZodTypes)._zod;
    return def.type === 'object' ? [Object.keys(def.shape)] : [];
  });
  const own = typeof given === 'object' && given !== null ? Object.keys(given) : [];
  const shared = (keys: string[]) => own.filter((key) => keys.includes(key)).length;
  return shapes.sort((a, b) => shared(b) - shared(a))[0] ?? [];
}

function step(schema: z.core.$ZodType, part: string | number): z.core.$ZodType[] {
  return unwrapped(schema).flatMap((candidate) => {
    const { def } = (candidate as z.core.$ZodTypes)._zod;
    if (def.type === 'object') return Object.hasOwn(def.shape, part) ? [def.shape[part] as z.core.$ZodType] : [];
    if (def.type === 'array') return [def.element];
    return def.type === 'record' ? [def.valueType] : [];
  });
}

/** Looks through optional, nullable and default wrappers, and into unions. */
function unwrapped(schema: z.core.$ZodType): z.core.$ZodType[] {
  // Every schema of this package is one of zod's own kinds.
  const { def } = (schema as z.core.$ZodTypes)._zod;
  if (def.type === 'optional' || def.type === 'nullable' || def.type === 'default') return unwrapped(def.innerType);
  if (def.type === 'union') return def.options.flatMap(unwrapped);
  return [schema];
}
