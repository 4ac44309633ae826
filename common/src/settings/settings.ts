import { readFileSync } from 'node:fs';
import { type AppError, commonError } from '../errors.ts';
import { registerSecret } from '../output/redact.ts';
import type { Kind } from './kinds.ts';
import { nearestName } from './nearest.ts';

/** One setting: the only place that says its names, its kind, its default and what it means. */
export interface Setting<T> {
  /** Without dashes; left out where argv must never carry the value (secrets). */
  readonly flag?: string;
  readonly env?: string;
  /** Dotted key in the configuration file. */
  readonly file?: string;
  readonly kind: Kind<T>;
  readonly default?: T;
  /** Shown in help instead of the default, where the default is worked out. */
  readonly defaultMeaning?: string;
  readonly required?: boolean;
  /** The value is never shown, in help, errors or logs. */
  readonly secret?: boolean;
  readonly meaning: string;
}

export type SettingTable = Readonly<Record<string, Setting<unknown>>>;

/** The values that a table of settings resolves to: undefined only where there is neither a default nor `required`. */
export type ValuesOf<Table extends SettingTable> = {
  readonly [Key in keyof Table]: Table[Key] extends { readonly kind: Kind<infer T> }
    ? Table[Key] extends { readonly default: unknown } | { readonly required: true }
      ? T
      : T | undefined
    : never;
};

export interface SettingSources {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Parsed configuration file, if there is one; looked up by dotted keys. */
  readonly file?: { readonly path: string; readonly values: Readonly<Record<string, unknown>> };
}

interface Given {
  readonly value: unknown;
  /** Names the source in errors: `--db-port`, `DB_PORT`, `database.port in /config/config.yaml`. */
  readonly origin: string;
}

/** Words after the verb, split into flags and positionals by the table. */
export interface ParsedArguments {
  readonly given: ReadonlyMap<string, Given>;
  readonly positionals: readonly string[];
  readonly help: boolean;
}

/**
 * Splits argv by the table's flags: `--flag value`, `--flag=value`, `--toggle`, `--no-toggle`, `--` ends flags.
 * @throws AppError SETTING_UNKNOWN for a flag that does not exist (with the nearest known), SETTING_INVALID for a missing value or a repeated flag.
 */
export function parseArguments(table: SettingTable, argv: readonly string[]): ParsedArguments {
  const byFlag = new Map<string, [string, Setting<unknown>]>();
  for (const [key, setting] of Object.entries(table)) {
    if (setting.flag !== undefined) byFlag.set(setting.flag, [key, setting]);
  }
  const given = new Map<string, Given>();
  const positionals: string[] = [];
  let help = false;
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] ?? '';
    if (word === '--') {
      positionals.push(...argv.slice(index + 1));
      break;
    }
    if (word === '-h' || word === '--help') {
      help = true;
      continue;
    }
    if (!word.startsWith('-') || word === '-') {
      positionals.push(word);
      continue;
    }
    const equals = word.indexOf('=');
    const name = word.slice(2, equals < 0 ? undefined : equals);
    const negated = name.startsWith('no-') && !byFlag.has(name);
    const found = word.startsWith('--') ? byFlag.get(negated ? name.slice(3) : name) : undefined;
    if (!found || (negated && found[1].kind.placeholder !== null)) throw unknownFlag(word, byFlag.keys());
    const [key, setting] = found;
    const origin = `--${name}`;
    let raw: string;
    if (setting.kind.placeholder === null) {
      raw = equals < 0 ? String(!negated) : word.slice(equals + 1);
    } else if (equals >= 0) {
      raw = word.slice(equals + 1);
    } else {
      const next = argv[++index];
      if (next === undefined || (next.startsWith('--') && next !== '--')) {
        throw commonError('SETTING_INVALID', `${origin} was given no value; it takes ${setting.kind.takes}`);
      }
      raw = next;
    }
    const value = setting.kind.fromText(raw);
    const earlier = given.get(key);
    if (earlier && !(Array.isArray(earlier.value) && Array.isArray(value))) {
      throw commonError('SETTING_INVALID', `${origin} was given twice`);
    }
    given.set(key, { value: earlier ? [...(earlier.value as unknown[]), ...(value as unknown[])] : value, origin });
  }
  return { given, positionals, help };
}

function unknownFlag(word: string, known: Iterable<string>): AppError {
  const name = word.replace(/^-+/, '').split('=')[0] ?? '';
  const near = nearestName(name, known);
  // Only the name is repeated: what follows `=` could be a secret that somebody tried to pass.
  return commonError('SETTING_UNKNOWN', `there is no flag --${name}${near ? `; did you mean --${near}?` : ''}`);
}

/**
 * Resolves every setting: flag, then environment, then file, then default.
 * @throws AppError SETTING_INVALID or SETTING_MISSING, naming the setting, what it was given (secrets aside) and what it takes.
 */
export function resolveSettings<Table extends SettingTable>(
  table: Table,
  given: ReadonlyMap<string, Given>,
  sources: Omit<SettingSources, 'argv'>,
): ValuesOf<Table> {
  // First of all, so that no error about another setting can carry one.
  for (const { env, secret } of Object.values(table)) {
    if (secret && env !== undefined) registerSecret(sources.env[env] ?? '');
  }
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(table)) {
    const found = given.get(key) ?? fromEnvironment(setting, sources.env) ?? fromFile(setting, sources.file);
    values[key] = found ? checked(setting, found) : setting.default;
    if (values[key] === undefined && setting.required) {
      throw commonError('SETTING_MISSING', `${settingName(setting)} is not set; it takes ${setting.kind.takes}`, {
        hint: `Set ${waysToSet(setting)}.`,
      });
    }
  }
  // Each key was checked by its own kind's schema.
  return values as ValuesOf<Table>;
}

function fromEnvironment(setting: Setting<unknown>, env: SettingSources['env']): Given | undefined {
  const raw = setting.env === undefined ? undefined : env[setting.env];
  return raw === undefined || setting.env === undefined
    ? undefined
    : { value: setting.kind.fromText(raw), origin: setting.env };
}

function fromFile(setting: Setting<unknown>, file: SettingSources['file']): Given | undefined {
  if (setting.file === undefined || !file) return undefined;
  let value: unknown = file.values;
  for (const part of setting.file.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value === undefined ? undefined : { value, origin: `${setting.file} in ${file.path}` };
}

function checked(setting: Setting<unknown>, found: Given): unknown {
  const result = setting.kind.schema.safeParse(found.value);
  if (result.success) return result.data;
  const shown = setting.secret ? 'a value' : JSON.stringify(found.value);
  throw commonError('SETTING_INVALID', `${found.origin} was given ${shown}; it takes ${setting.kind.takes}`);
}

/** The name a setting goes by in messages: its variable, else its flag, else its file key. */
export function settingName(setting: Setting<unknown>): string {
  return setting.env ?? (setting.flag === undefined ? (setting.file ?? '') : `--${setting.flag}`);
}

/** "--db-host, DB_HOST or database.host in the configuration file". */
export function waysToSet(setting: Setting<unknown>): string {
  const ways: string[] = [];
  if (setting.flag !== undefined) ways.push(`--${setting.flag}`);
  if (setting.env !== undefined) ways.push(setting.env);
  if (setting.file !== undefined) ways.push(`${setting.file} in the configuration file`);
  return ways.length < 2 ? ways.join('') : `${ways.slice(0, -1).join(', ')} or ${ways.at(-1)}`;
}

/**
 * Reads a secret from a mounted file, without the newline that editors and `kubectl create secret` leave at its end.
 * @throws AppError CONFIG_UNREADABLE naming the path, never the content.
 */
export function readSecretFile(file: string, setting: string): string {
  try {
    const secret = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    registerSecret(secret);
    return secret;
  } catch (cause) {
    throw commonError('CONFIG_UNREADABLE', `${setting} names ${file}, which cannot be read (${errorCodeOf(cause)})`, {
      cause,
    });
  }
}

function errorCodeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}
