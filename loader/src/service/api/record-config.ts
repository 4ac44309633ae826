import { AppError } from '@tableset/common/errors.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import { validateConfig } from '../../config/read.ts';
import type { LoadedConfig } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import type { RecordSettings } from './record-schema.ts';

/** Environment that the password of a record's archive is handed over in. */
export const storePasswordName = 'TABLESET_RECORD_STORE_PASSWORD';

/** The file, as far as records build on it: its stores, its limits, and the folder of its paths. */
export type BaseConfig = Pick<LoadedConfig, 'config' | 'path'>;

/**
 * A record as the text of a configuration file, so that the same rules hold and the same code runs it.
 * @param id the store of its own that a record has is called by it
 */
export function recordConfigText(settings: RecordSettings, id: string, { config }: BaseConfig): string {
  const store = settings.store ?? `record-${id}`;
  const stores = settings.store
    ? storeOfFile(config.values, settings.store)
    : { [store]: { mysql: ownStore(settings) } };
  const entry = {
    table: settings.table_name,
    dateColumn: settings.date_column,
    dateType: settings.date_type,
    dateZone: settings.date_zone,
    archiveAfterDays: settings.archival_days,
    deleteAfterDays: settings.deletion_days,
    enabled: settings.enabled,
    store,
    archiveTable: settings.archive_table,
    children: settings.children,
    where: settings.where,
    evolve: settings.evolve,
    deleteDelay: settings.delete_delay,
    allowDeleteTriggers: settings.allow_delete_triggers,
  };
  return JSON.stringify({ stores, archive: [given(entry)], ...limitsOf(config.values, settings) });
}

/** The operator's limits hold for records too; the replicas are those of the file's own server. */
function limitsOf(values: BaseConfig['config']['values'], settings: RecordSettings): { readonly limits?: object } {
  const { limits } = values;
  if (typeof limits !== 'object' || limits === null) return {};
  if (!settings.primary_db_host) return { limits };
  const foreign = new Set(['replicas', 'maxReplicaLagSeconds']);
  return { limits: Object.fromEntries(Object.entries(limits).filter(([key]) => !foreign.has(key))) };
}

/** The stores of the file stay the file's, secrets and paths included; one that is not there is told of by the rules. */
function storeOfFile(values: BaseConfig['config']['values'], name: string): Readonly<Record<string, unknown>> {
  const { stores } = values;
  if (typeof stores !== 'object' || stores === null) return {};
  return Object.fromEntries(Object.entries(stores).filter(([each]) => each === name));
}

function ownStore(settings: RecordSettings): Readonly<Record<string, unknown>> {
  const { archival_db_host: host, archival_db_name: name } = settings;
  const server = {
    host,
    port: settings.archival_db_port,
    user: settings.archival_db_user,
    tls: settings.archival_db_tls,
    passwordEnv: host ? storePasswordName : undefined,
  };
  return given({ ...server, name, acceptNotDurable: settings.archival_db_accept_not_durable });
}

/** Without what is null or missing. */
function given(values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== null));
}

/** Server and schema that a record's table is in. @param own what the service works on */
export function recordDatabase(settings: RecordSettings, own: DatabaseSettings, password: string): DatabaseSettings {
  const { primary_db_host: host, primary_db_user: user, primary_db_name: name } = settings;
  if (!host) return own;
  const tls = settings.primary_db_tls ?? 'disable';
  return {
    host,
    port: settings.primary_db_port ?? 3306,
    // The checks see to it that they are there with a host.
    user: user ?? '',
    name: name ?? '',
    password,
    tls,
    tlsCaFile: tls === 'verify' ? own.tlsCaFile : undefined,
    waitSeconds: own.waitSeconds,
    singleWriter: own.singleWriter,
  };
}

interface Fault {
  readonly path: string;
  readonly message: string;
}

/** Checks what a record says by the rules of the configuration file. @throws AppError SERVICE_REQUEST_INVALID naming every fault */
export async function checkRecord(settings: RecordSettings, base: BaseConfig): Promise<void> {
  const faults = [...placeFaults(settings)];
  if (faults.length === 0) faults.push(...(await ruleFaults(settings, base)));
  const [first] = faults;
  if (!first) return;
  throw serviceError('SERVICE_REQUEST_INVALID', `the record does not fit: ${first.path} ${first.message}`, {
    details: { errors: faults },
  });
}

/** What databases a record names, and what belongs to them. */
function placeFaults(settings: RecordSettings): readonly Fault[] {
  const faults: Fault[] = [];
  const fault = (path: string, message: string) => faults.push({ path, message });
  if (settings.primary_db_host) {
    for (const key of ['primary_db_name', 'primary_db_user'] as const)
      if (!settings[key]) fault(key, 'is missing; with primary_db_host it is required');
  } else {
    for (const key of ['primary_db_port', 'primary_db_name', 'primary_db_user', 'primary_db_tls'] as const)
      if (settings[key]) fault(key, 'is for a server of its own; give primary_db_host too');
  }
  if (settings.archival_db_host && !settings.archival_db_user)
    fault('archival_db_user', 'is missing; with archival_db_host it is required');
  if (!settings.archival_db_host) {
    for (const key of ['archival_db_port', 'archival_db_user', 'archival_db_tls'] as const)
      if (settings[key]) fault(key, 'is for a server of its own; give archival_db_host too');
  }
  if (Boolean(settings.store) === Boolean(settings.archival_db_name))
    fault('store', 'or archival_db_name says where the rows go: one of them, not both');
  else if (settings.store && (settings.archival_db_host || settings.archival_db_accept_not_durable))
    fault('archival_db_host', 'is for archival_db_name; the store is described in the configuration file');
  return faults;
}

async function ruleFaults(settings: RecordSettings, base: BaseConfig): Promise<readonly Fault[]> {
  try {
    await validateConfig(recordConfigText(settings, '0', base), base.path, { [storePasswordName]: '' });
    return [];
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'CONFIG_INVALID') throw error;
    // `validateConfig` puts its list there.
    const problems = error.details['problems'] as readonly Fault[];
    return problems.map(({ path, message }) => ({ path: fieldOf(path), message }));
  }
}

const fieldNames: Readonly<Record<string, string>> = {
  table: 'table_name',
  dateColumn: 'date_column',
  dateType: 'date_type',
  dateZone: 'date_zone',
  archiveAfterDays: 'archival_days',
  deleteAfterDays: 'deletion_days',
  archiveTable: 'archive_table',
  deleteDelay: 'delete_delay',
  allowDeleteTriggers: 'allow_delete_triggers',
};

/** `archive[0].deleteAfterDays` → `deletion_days`. */
function fieldOf(path: string): string {
  const inEntry = /^archive\[0\]\.?(.*)$/.exec(path)?.[1];
  if (inEntry === undefined) return /^stores\b/.test(path) ? 'store' : path;
  const [, name = '', rest = ''] = /^(\w*)(.*)$/.exec(inEntry) ?? [];
  return `${fieldNames[name] ?? name}${rest}`;
}
