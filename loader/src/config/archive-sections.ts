import { nearestName } from '@tableset/common/settings/nearest.ts';
import { isZone } from '../core/values/calendar.ts';
import {
  type ArchiveChild,
  type ArchiveConfig,
  type ArchiveLimits,
  type ArchiveTask,
  type Condition,
  type StoreSettings,
  standardLimits,
} from './archive-config.ts';
import {
  type ArchiveEntryFile,
  type ArchiveSchemas,
  archiveSchemas,
  durationSeconds,
  type LimitsFile,
  type StoreFile,
} from './archive-schema.ts';
import { type Complaint, s3Complaints, serverComplaints, withPaths } from './load-config.ts';
import { readPassword } from './password.ts';
import { valueAt } from './problems.ts';
import { fromDirectory } from './source-settings.ts';

/** What the sections are completed with. */
export interface Surroundings {
  /** Folder of the configuration file, which paths are relative to. */
  readonly directory: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `file:line:column` of a value. */
  position(path: readonly (string | number)[]): string;
}

/** The schema of a file with all of its sections. */
export function fileSchema(): ArchiveSchemas['file'] {
  return archiveSchemas().file;
}

/**
 * Completes `archive:`, `stores:` and `limits:`. Each entry is taken on its own, so that a fault elsewhere does not hide what is wrong with it;
 * what does not fit the schema is left out, and told by whoever checks the whole file.
 */
export function archiveConfig(
  values: unknown,
  surroundings: Surroundings,
): { readonly config: ArchiveConfig; readonly complaints: readonly Complaint[] } {
  const complaints: Complaint[] = [];
  const config = {
    archive: archiveTasks(values, surroundings, complaints),
    stores: stores(values, surroundings, complaints),
    limits: limits(values, complaints),
  };
  complaints.push(...nameComplaints(config.archive, values));
  return { config, complaints };
}

function archiveTasks(values: unknown, { position }: Surroundings, complaints: Complaint[]): ArchiveTask[] {
  const entries = valueAt(values, ['archive']);
  if (!Array.isArray(entries)) return [];
  const section = valueAt(values, ['stores']) ?? {};
  const known = typeof section === 'object' && section !== null ? Object.keys(section) : null;
  return entries.flatMap((raw, index) => {
    const entry = archiveSchemas().entry.safeParse(raw);
    if (!entry.success) return [];
    const path = ['archive', index];
    const found = [...entryComplaints(entry.data), ...storeComplaints(entry.data.store, known)];
    complaints.push(...found.map((complaint) => ({ ...complaint, path: [...path, ...complaint.path] })));
    return [archiveTask(entry.data, position(path))];
  });
}

function archiveTask(entry: ArchiveEntryFile, position: string): ArchiveTask {
  const { deleteDelay, deleteAfterDays, archiveTable, dateZone, children, where, ...rest } = entry;
  return {
    ...rest,
    dateZone: dateZone ?? 'UTC',
    deleteAfterDays: deleteAfterDays ?? null,
    archiveTable: archiveTable ?? null,
    children: children.map(childOf),
    // Optional keys that are missing are left out by zod, never present as undefined.
    where: where as readonly Condition[],
    deleteDelaySeconds: durationSeconds(deleteDelay),
    position,
  };
}

function childOf(given: ArchiveEntryFile['children'][number]): ArchiveChild {
  const child = typeof given === 'string' ? { table: given } : given;
  return {
    table: child.table,
    on: child.on ?? null,
    // Optional keys that are missing are left out by zod, never present as undefined.
    when: (child.when ?? null) as ArchiveChild['when'],
    resolutionSeconds: child.resolutionSeconds ?? null,
    dateColumn: child.dateColumn ?? null,
    leftOut: child.leftOut ?? 'keep',
    archiveTable: child.archiveTable ?? null,
  };
}

function storeComplaints(name: string, known: readonly string[] | null): Complaint[] {
  if (known === null || known.includes(name)) return [];
  const near = nearestName(name, known);
  const all = known.length > 0 ? `there are: ${known.join(', ')}` : 'there are none';
  return [
    { path: ['store'], message: `no store of the name ${name} under stores; ${near ? `did you mean ${near}?` : all}` },
  ];
}

function entryComplaints(entry: ArchiveEntryFile): Complaint[] {
  const complaints: Complaint[] = [];
  const { archiveAfterDays, deleteAfterDays, dateType, dateZone } = entry;
  if (deleteAfterDays !== undefined && deleteAfterDays < archiveAfterDays) {
    complaints.push({
      path: ['deleteAfterDays'],
      message: `is less than archiveAfterDays (${archiveAfterDays}); both count from the date of the row`,
    });
  }
  if (dateZone !== undefined && dateType !== 'date')
    complaints.push({ path: ['dateZone'], message: `means nothing for dateType ${dateType}`, atKey: true });
  else if (dateZone !== undefined && !isZone(dateZone))
    complaints.push({ path: ['dateZone'], message: `is the unknown zone ${JSON.stringify(dateZone)}` });
  const tables = new Set([entry.table]);
  for (const [index, child] of entry.children.entries()) {
    const path = ['children', index];
    const table = typeof child === 'string' ? child : child.table;
    if (tables.has(table))
      complaints.push({ path, message: `${table} is ${table === entry.table ? 'the table itself' : 'listed before'}` });
    tables.add(table);
    if (typeof child !== 'string')
      complaints.push(...childComplaints(child).map((each) => ({ ...each, path: [...path, ...each.path] })));
  }
  for (const [index, condition] of entry.where.entries()) {
    const message = conditionFault(condition);
    if (message !== null) complaints.push({ path: ['where', index, 'value'], message });
  }
  return complaints;
}

function childComplaints(child: Exclude<ArchiveEntryFile['children'][number], string>): Complaint[] {
  const complaints: Complaint[] = [];
  const { on, when, resolutionSeconds, dateColumn, leftOut } = child;
  if (on && Object.keys(on).length === 0) complaints.push({ path: ['on'], message: 'names no column' });
  if (when && when.atMost === undefined && when.atLeast === undefined)
    complaints.push({ path: ['when'], message: 'takes atMost, atLeast or both' });
  if (when && (when.atLeast ?? Number.NEGATIVE_INFINITY) > (when.atMost ?? Number.POSITIVE_INFINITY))
    complaints.push({ path: ['when', 'atLeast'], message: 'is more than atMost' });
  if (dateColumn !== undefined && resolutionSeconds === undefined)
    complaints.push({ path: ['dateColumn'], message: 'is for resolutionSeconds, which is not given', atKey: true });
  if (leftOut !== undefined && when === undefined && resolutionSeconds === undefined)
    complaints.push({
      path: ['leftOut'],
      message: 'is for when or resolutionSeconds; without them no row is left out',
      atKey: true,
    });
  return complaints;
}

function conditionFault({ operator, value }: ArchiveEntryFile['where'][number]): string | null {
  const isNullTest = operator === 'is null' || operator === 'is not null';
  if (isNullTest) return value === undefined ? null : `is for other operators; ${operator} takes none`;
  if (value === undefined) return `is missing; ${operator} takes one`;
  if (operator === 'in' || operator === 'not in') return Array.isArray(value) ? null : `takes a list for ${operator}`;
  return Array.isArray(value) ? `takes no list for ${operator}; use in or not in` : null;
}

/** Tables that stand there twice, and names in a store that two tables would share. */
function nameComplaints(tasks: readonly ArchiveTask[], values: unknown): Complaint[] {
  const complaints: Complaint[] = [];
  const roots = new Map<string, number>();
  const owners = new Map<string, string>();
  // By position in the file: entries with other faults are not among the tasks.
  const entries = valueAt(values, ['archive']);
  for (const [index, raw] of (Array.isArray(entries) ? entries : []).entries()) {
    const table: unknown = valueAt(raw, ['table']);
    if (typeof table !== 'string') continue;
    const earlier = roots.get(table);
    if (earlier === undefined) roots.set(table, index);
    else
      complaints.push({
        path: ['archive', index, 'table'],
        message: `${table} is archived by archive[${earlier}] already`,
      });
    const task = tasks.find((each) => each.table === table);
    if (!task || earlier !== undefined) continue;
    for (const [child, { table: source, archiveTable }] of [[-1, task] as const, ...task.children.entries()]) {
      const name = archiveTable ?? source;
      const place = child < 0 ? ['archive', index] : ['archive', index, 'children', child];
      const path = archiveTable === null ? place : [...place, 'archiveTable'];
      if (name.toLowerCase().startsWith('tableset_'))
        complaints.push({ path, message: `${name} is a name of Tableset's own tables` });
      const key = JSON.stringify([task.store, name]);
      const owner = owners.get(key);
      if (owner !== undefined && owner !== source)
        complaints.push({ path, message: `the store ${task.store} has ${owner} under the name ${name} already` });
      owners.set(key, source);
    }
  }
  return complaints;
}

function stores(values: unknown, surroundings: Surroundings, complaints: Complaint[]): StoreSettings[] {
  const section = valueAt(values, ['stores']);
  if (typeof section !== 'object' || section === null || Array.isArray(section)) return [];
  return Object.entries(section).flatMap(([name, raw]) => {
    const store = archiveSchemas().store.safeParse(raw);
    if (!store.success) return [];
    const settings = storeSettings(name, store.data, surroundings);
    if (!Array.isArray(settings)) return [settings as StoreSettings];
    complaints.push(...settings.map((complaint) => ({ ...complaint, path: ['stores', name, ...complaint.path] })));
    return [];
  });
}

function storeSettings(
  name: string,
  store: StoreFile,
  surroundings: Surroundings,
): StoreSettings | readonly Complaint[] {
  const kinds = Object.keys(store);
  if (kinds.length !== 1) {
    const given = kinds.length === 0 ? 'has none' : `has ${kinds.join(' and ')}`;
    return [{ path: [], message: `takes one of mysql, filesystem, s3, sqlite, and ${given}` }];
  }
  const { directory } = surroundings;
  const base = { name, position: surroundings.position(['stores', name]) };
  const { mysql, filesystem, s3, sqlite } = store;
  if (mysql) return mysqlStore(base, mysql, surroundings);
  if (filesystem) {
    const { path, ...files } = filesystem;
    return { ...base, kind: 'filesystem', folder: fromDirectory(path, directory), files };
  }
  if (s3) return s3Store(base, s3, directory);
  return { ...base, kind: 'sqlite', path: fromDirectory(sqlite?.path ?? '', directory) };
}

function mysqlStore(
  base: Pick<StoreSettings, 'name' | 'position'>,
  { name: schema, acceptNotDurable, ...given }: NonNullable<StoreFile['mysql']>,
  { directory, env }: Surroundings,
): StoreSettings | readonly Complaint[] {
  const { host, user, port = 3306, tls = 'disable', ...files } = given;
  const kind = 'mysql' as const;
  if (host === undefined) {
    const [key] = Object.keys(given);
    if (key === undefined) return { ...base, kind, server: null, schema, acceptNotDurable };
    return [{ path: [kind, key], message: "is for a server of the archive's own; give its host too", atKey: true }];
  }
  if (user === undefined) return [{ path: [kind, 'user'], message: 'is missing; with a host it is required' }];
  const complaints = serverComplaints({ ...files, tls }, [kind]);
  if (complaints.length > 0) return complaints;
  const place = withPaths(files, directory);
  const server = {
    host,
    port,
    user,
    /** Read when it is needed, so that a file can be checked, and a load run, where the secret is not. */
    get password() {
      return readPassword(`stores.${base.name}.mysql`, place, env);
    },
    tls,
    tlsCaFile: place.tlsCaFile,
    waitSeconds: 60,
    singleWriter: false,
  };
  return { ...base, kind, server, schema, acceptNotDurable };
}

function s3Store(
  base: Pick<StoreSettings, 'name' | 'position'>,
  { bucket, prefix: given, format, compression, ...s3 }: NonNullable<StoreFile['s3']>,
  directory: string,
): StoreSettings | readonly Complaint[] {
  const prefix = given.replace(/^\/+|\/+$/g, '');
  const complaints = s3Complaints(s3, ['s3']);
  if (prefix.split('/').some((part) => part === '.' || part === '..') || prefix.includes('//'))
    complaints.push({ path: ['s3', 'prefix'], message: 'has an empty part, or one of dots' });
  if (complaints.length > 0) return complaints;
  return { ...base, kind: 's3', bucket, prefix, s3: withPaths(s3, directory), files: { format, compression } };
}

function limits(values: unknown, complaints: Complaint[]): ArchiveLimits {
  const given = archiveSchemas().limits.safeParse(valueAt(values, ['limits']) ?? {});
  if (!given.success) return standardLimits;
  const { maxRuntime, window, maxDeletes, maxReplicaLagSeconds, maxThreadsRunning, ...rest } = given.data;
  const path = (key: keyof LimitsFile) => ['limits', key];
  if (rest.replicas.length > 0 && maxReplicaLagSeconds === undefined)
    complaints.push({
      path: path('replicas'),
      message: 'is for maxReplicaLagSeconds, which is not given',
      atKey: true,
    });
  const maxRuntimeSeconds = maxRuntime === undefined ? null : durationSeconds(maxRuntime);
  if (maxRuntimeSeconds === 0) complaints.push({ path: path('maxRuntime'), message: 'leaves no time' });
  const times = window === undefined ? null : windowOf(window);
  if (times && times.fromMinute === times.toMinute)
    complaints.push({ path: path('window'), message: 'ends when it begins; leave it out for the whole day' });
  if (times && !isZone(times.zone))
    complaints.push({ path: path('window'), message: `has the unknown zone ${JSON.stringify(times.zone)}` });
  return {
    ...rest,
    maxRuntimeSeconds,
    window: times,
    maxReplicaLagSeconds: maxReplicaLagSeconds ?? null,
    maxThreadsRunning: maxThreadsRunning ?? null,
    maxDeletes: { rows: maxDeletes?.rows ?? null, percent: maxDeletes?.percent ?? null },
  };
}

/** The parts of a text of the form `01:00-05:00 Europe/Berlin`. */
function windowOf(text: string): NonNullable<ArchiveLimits['window']> {
  const [times = '', zone = 'UTC'] = text.split(' ');
  const [from = 0, to = 0] = times.split('-').map((time) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3)));
  return { fromMinute: from, toMinute: to, zone };
}
