import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { commonError } from '@tableset/common/errors.ts';
import { type ArchiveConfig, standardLimits } from './archive-config.ts';
import {
  type Complaint,
  type LoadConfig,
  type LoadTable,
  loadTable,
  resolvedSections,
  sectionComplaints,
} from './load-config.ts';
import { loadEntrySchema } from './load-schema.ts';
import { readPlainYaml } from './plain-yaml.ts';
import { complaintsOf, valueAt } from './problems.ts';
import { loadConfigSchema } from './schema.ts';

export type { Problem } from './yaml-file.ts';

/** Kubernetes cuts ConfigMaps off at 1 MiB; a file far larger is not a configuration. */
const fileBytesMax = 4 * 1024 * 1024;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads and checks the configuration file.
 * @param env that passwords of stores may be read from, when they are first needed
 * @throws AppError CONFIG_UNREADABLE, or CONFIG_INVALID naming every fault with its position.
 */
export async function readConfig(path: string, env: Environment = process.env): Promise<LoadConfig> {
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw commonError('CONFIG_UNREADABLE', `the configuration ${path} cannot be read (${code})`, { cause });
  }
  if (content.length > fileBytesMax) {
    throw commonError(
      'CONFIG_INVALID',
      `${path} has ${content.length} bytes; a configuration has at most ${fileBytesMax}`,
    );
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch (cause) {
    throw commonError('CONFIG_INVALID', `${path} is not UTF-8`, { cause });
  }
  return await validateConfig(text, path, env);
}

/**
 * Checks the text of a configuration file without touching anything. Relative paths in it are taken from the folder of `path`.
 * @throws AppError CONFIG_INVALID with all problems, one a line in the message and as `details.problems`.
 */
export async function validateConfig(text: string, path: string, env: Environment = {}): Promise<LoadConfig> {
  const plain = plainConfig(text, path);
  if (plain !== null) return plain;
  const { parseFile } = await import('./yaml-file.ts');
  const file = parseFile(text, path);
  const values = file.plainValues();

  const complaints: Complaint[] = [];
  const directory = dirname(path);
  const archives = hasOnlyKeysOf(loadConfigSchema.shape, values) ? null : await import('./archive-sections.ts');
  const schema = archives === null ? loadConfigSchema : archives.fileSchema();
  const result = schema.safeParse(values);
  if (!result.success) complaints.push(...complaintsOf(result.error.issues, schema, values));
  if (archives !== null && valueAt(values, ['load']) === undefined && valueAt(values, ['archive']) === undefined)
    complaints.push({ path: ['load'], message: 'is missing; a configuration has load, archive or both' });
  // A fault elsewhere must not hide what is wrong here, so each entry is completed on its own.
  const databases = valueAt(values, ['databases']);
  const names =
    databases === undefined ? [] : typeof databases === 'object' && databases !== null ? Object.keys(databases) : null;
  const load = completedEntries(values, directory, names, (at) => file.position(at), complaints);
  const archived = archives?.archiveConfig(values, { directory, env, position: (at) => file.position(at) });
  complaints.push(...(archived?.complaints ?? []));
  if (result.success) complaints.push(...sectionComplaints(result.data));
  const problems = [...file.scalarProblems(), ...complaints.map((complaint) => file.located(complaint))];
  if (problems.length > 0 || !result.success) throw file.invalid(problems);
  // The schema takes nothing but a map at the root.
  const sections = resolvedSections(result.data, values as Record<string, unknown>, directory);
  return { path, load, ...(archived?.config ?? nothingArchived), ...sections };
}

/**
 * A plain file that only loads and has no fault, without the YAML parser; null for any other, which is then read as a whole.
 */
function plainConfig(text: string, path: string): LoadConfig | null {
  const plain = readPlainYaml(text);
  if (plain === null || !hasOnlyKeysOf(loadConfigSchema.shape, plain.values)) return null;
  const { values, positions } = plain;
  const result = loadConfigSchema.safeParse(values);
  if (!result.success) return null;
  const complaints = sectionComplaints(result.data);
  const directory = dirname(path);
  const position = (at: readonly (string | number)[]) => {
    const { line, column } = positions.get(valueAt(values, at)) ?? { line: 1, column: 1 };
    return `${path}:${line}:${column}`;
  };
  const load = completedEntries(values, directory, Object.keys(result.data.databases), position, complaints);
  if (complaints.length > 0) return null;
  return { path, load, ...nothingArchived, ...resolvedSections(result.data, values, directory) };
}

const nothingArchived: ArchiveConfig = { archive: [], stores: [], limits: standardLimits };

/** The start of a pod that only loads is spared the rest: importing it and making its schemas costs 6 ms. */
function hasOnlyKeysOf(shape: object, values: unknown): boolean {
  return typeof values === 'object' && values !== null && Object.keys(values).every((key) => Object.hasOwn(shape, key));
}

function completedEntries(
  values: unknown,
  directory: string,
  databases: readonly string[] | null,
  position: (path: readonly (string | number)[]) => string,
  complaints: Complaint[],
): LoadTable[] {
  const entries = valueAt(values, ['load']);
  if (!Array.isArray(entries)) return [];
  const tables: LoadTable[] = [];
  const seen = new Map<string, number>();
  for (const [index, raw] of entries.entries()) {
    const name = valueAt(raw, ['table']);
    if (typeof name === 'string') {
      const earlier = seen.get(name);
      if (earlier !== undefined)
        complaints.push({ path: ['load', index, 'table'], message: `${name} is loaded by load[${earlier}] already` });
      else seen.set(name, index);
    }
    const entry = loadEntrySchema.safeParse(raw);
    if (!entry.success) continue;
    const table = loadTable(entry.data, directory, databases);
    if ('table' in table) tables.push({ ...table, position: position(['load', index]) });
    else complaints.push(...table.map((complaint) => ({ ...complaint, path: ['load', index, ...complaint.path] })));
  }
  return tables;
}
