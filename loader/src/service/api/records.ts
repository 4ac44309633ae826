import type { Connection } from '@tableset/common/database/connection.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { registerSecret } from '@tableset/common/output/redact.ts';
import { databaseSettings } from '@tableset/common/settings/database.ts';
import type { ServiceSettings } from '../../settings-service.ts';
import { audit } from '../audit.ts';
import type { ConfigFile, StateDatabase, TargetFacts } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import type { RunSpec } from '../run-types.ts';
import { databaseKey } from '../state-database.ts';
import { checkRecord, recordConfigText, recordDatabase, storePasswordName } from './record-config.ts';
import { openHostCheck } from './record-hosts.ts';
import { checkPasswordPlaces, RecordPasswords } from './record-passwords.ts';
import {
  type ArchivalRecord,
  deleteRecord,
  findRecord,
  insertRecord,
  listRecords,
  type RecordContent,
  type SealedPasswords,
  updateRecord,
  writePasswords,
} from './record-rows.ts';
import type { RecordBody, RecordSettings } from './record-schema.ts';

/** Archival records of the API: what runs need of them, and what the routes do with them. */
export interface Records {
  /** Ids of the enabled ones; may be a few seconds old. */
  enabled(): Promise<readonly string[]>;
  /** @throws AppError SERVICE_NOT_FOUND */
  describe(id: string): Promise<TargetFacts>;
  /** With the passwords deciphered. @throws AppError SERVICE_NOT_FOUND, SERVICE_SECRET_UNREADABLE, SERVICE_HOST_REFUSED */
  spec(id: string): Promise<Pick<RunSpec, 'configText' | 'configPath' | 'env' | 'database'>>;
  /** @throws AppError SERVICE_NOT_FOUND */
  find(id: string): Promise<ArchivalRecord>;
  /** Oldest first. */
  list(page: { readonly after: string; readonly limit: number }): Promise<readonly ArchivalRecord[]>;
  /** @throws AppError SERVICE_REQUEST_INVALID, SERVICE_CONFLICT, SERVICE_ENCRYPTION_OFF, SERVICE_HOST_REFUSED */
  create(body: RecordBody, by: string): Promise<ArchivalRecord>;
  /**
   * @param version that it must have; null: any
   * @throws AppError as `create`, SERVICE_NOT_FOUND, SERVICE_PRECONDITION_FAILED
   */
  update(id: string, body: RecordBody, version: string | null, by: string): Promise<ArchivalRecord>;
  /** @throws AppError SERVICE_NOT_FOUND, SERVICE_PRECONDITION_FAILED */
  remove(id: string, version: string | null, by: string): Promise<void>;
}

/** Which keys and hosts records go by. */
type RecordEnvironment = Parameters<typeof databaseSettings>[0] &
  Pick<ServiceSettings, 'encryptionKeyFile' | 'archivalAllowedHosts'>;

/** The scheduler asks every second. */
const enabledMs = 5_000;
const enabledMax = 10_000;

/** @throws AppError for an ENCRYPTION_KEY_FILE that cannot be used */
export function openRecords(
  database: StateDatabase,
  settings: RecordEnvironment,
  configFile: Pick<ConfigFile, 'current'>,
  output: Pick<Output, 'event'>,
): Records {
  return new StoredRecords(database, settings, configFile, output);
}

class StoredRecords implements Records {
  readonly #database: StateDatabase;
  readonly #settings: RecordEnvironment;
  readonly #configFile: Pick<ConfigFile, 'current'>;
  readonly #passwords: RecordPasswords;
  readonly #checkHost: (host: string) => Promise<void>;
  #enabled: { readonly ids: readonly string[]; readonly atMs: number } | null = null;

  constructor(
    database: StateDatabase,
    settings: RecordEnvironment,
    configFile: Pick<ConfigFile, 'current'>,
    output: Pick<Output, 'event'>,
  ) {
    this.#database = database;
    this.#settings = settings;
    this.#configFile = configFile;
    this.#checkHost = openHostCheck(settings.host, settings.archivalAllowedHosts);
    this.#passwords = new RecordPasswords(database, settings.encryptionKeyFile, output);
  }

  async enabled(): Promise<readonly string[]> {
    const now = performance.now();
    if (this.#enabled !== null && now - this.#enabled.atMs < enabledMs) return this.#enabled.ids;
    await this.#passwords.rotate();
    const rows = await this.#database.use((connection) =>
      connection.rows(`SELECT id FROM tableset_service_archival WHERE enabled ORDER BY id LIMIT ${enabledMax}`),
    );
    const ids = rows.map((row) => String(row['id']));
    this.#enabled = { ids, atMs: now };
    return ids;
  }

  async describe(id: string): Promise<TargetFacts> {
    const { databaseKey: key, table, enabled } = await this.find(id);
    const tables = { load: [], archive: enabled ? [table] : [], purge: [table], restore: [table], verify: [table] };
    return { databaseKey: key, tables };
  }

  async spec(id: string): Promise<Pick<RunSpec, 'configText' | 'configPath' | 'env' | 'database'>> {
    const record = await this.find(id);
    // Again, since a name may lead elsewhere by now, and the list may have changed.
    await this.#checkHosts(record.settings);
    const base = this.#configFile.current;
    const primary = this.#passwords.open(record, 'primary');
    const archival = this.#passwords.open(record, 'archival');
    return {
      configText: recordConfigText(record.settings, id, base),
      configPath: base.path,
      env: { [storePasswordName]: archival },
      database: recordDatabase(record.settings, databaseSettings(this.#settings), primary),
    };
  }

  async find(id: string): Promise<ArchivalRecord> {
    return found(await this.#database.use((connection) => findRecord(connection, id)), id);
  }

  async list(page: { readonly after: string; readonly limit: number }): Promise<readonly ArchivalRecord[]> {
    return await this.#database.use((connection) => listRecords(connection, page));
  }

  async create(body: RecordBody, by: string): Promise<ArchivalRecord> {
    const content = await this.#checked(body);
    return await this.#write(async (connection) => {
      const id = await insertRecord(connection, content, by);
      await writePasswords(connection, id, this.#passwords.seal(id, body, null));
      const details = { table: content.table, database: content.databaseKey, settings: content.settings };
      await audit.record(connection, { actor: by, action: 'archival.create', subject: `archival ${id}`, details });
      return found(await findRecord(connection, id), id);
    });
  }

  async update(id: string, body: RecordBody, version: string | null, by: string): Promise<ArchivalRecord> {
    const content = await this.#checked(body);
    return await this.#write(async (connection) => {
      const before = locked(await findRecord(connection, id, true), id, version);
      const passwords = this.#passwords.seal(id, body, before);
      await updateRecord(connection, id, content, passwords, by);
      const changed = changedFields(before, content, passwords);
      const details = { table: content.table, database: content.databaseKey, changed };
      await audit.record(connection, { actor: by, action: 'archival.update', subject: `archival ${id}`, details });
      return found(await findRecord(connection, id), id);
    });
  }

  async remove(id: string, version: string | null, by: string): Promise<void> {
    await this.#write(async (connection) => {
      const before = locked(await findRecord(connection, id, true), id, version);
      await deleteRecord(connection, id);
      const details = { table: before.table, database: before.databaseKey, settings: before.settings };
      await audit.record(connection, { actor: by, action: 'archival.delete', subject: `archival ${id}`, details });
    });
  }

  async #write<T>(body: (connection: Connection) => Promise<T>): Promise<T> {
    try {
      return await this.#database.transaction(body);
    } finally {
      this.#enabled = null;
    }
  }

  async #checked(body: RecordBody): Promise<RecordContent> {
    const { primary_db_password: primary, archival_db_password: archival, ...settings } = body;
    for (const secret of [primary, archival]) if (secret) registerSecret(secret);
    checkPasswordPlaces(body);
    const base = this.#configFile.current;
    await checkRecord(settings, base);
    await this.#checkHosts(settings);
    const own = databaseSettings(this.#settings);
    const key = databaseKey(recordDatabase(settings, own, ''));
    const { table_name: table, enabled } = settings;
    if (key === databaseKey(own) && base.config.archive.some((task) => task.table === table))
      throw serviceError('SERVICE_CONFLICT', `the configuration file archives ${table} of ${key} already`, {
        hint: 'Change it there, or take it out of the file first.',
      });
    return { databaseKey: key, table, enabled, settings };
  }

  async #checkHosts(settings: RecordSettings): Promise<void> {
    for (const host of [settings.primary_db_host, settings.archival_db_host]) if (host) await this.#checkHost(host);
  }
}

/** Names of what an update changed; values of passwords are nowhere. */
function changedFields(
  before: ArchivalRecord,
  { settings }: RecordContent,
  passwords: SealedPasswords,
): readonly string[] {
  const text = (value: unknown) => JSON.stringify(value ?? null);
  const old: Readonly<Record<string, unknown>> = before.settings;
  const names = new Set([...Object.keys(before.settings), ...Object.keys(settings)]);
  const changed = [...names].filter((name) => text(old[name]) !== text((settings as typeof old)[name]));
  if (passwords.primaryPassword !== before.primaryPassword) changed.push('primary_db_password');
  if (passwords.archivalPassword !== before.archivalPassword) changed.push('archival_db_password');
  return changed;
}

function found(record: ArchivalRecord | null, id: string): ArchivalRecord {
  if (record) return record;
  throw serviceError('SERVICE_NOT_FOUND', `there is no archival record ${id}`);
}

function locked(record: ArchivalRecord | null, id: string, version: string | null): ArchivalRecord {
  const there = found(record, id);
  if (version === null || there.version === version) return there;
  throw serviceError('SERVICE_PRECONDITION_FAILED', `record ${id} has version ${there.version} by now, not ${version}`);
}
