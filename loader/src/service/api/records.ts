import type { Connection } from '@tableset/common/database/connection.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { registerSecret } from '@tableset/common/output/redact.ts';
import { databaseSettings } from '@tableset/common/settings/database.ts';
import type { ServiceSettings } from '../../settings-service.ts';
import { audit } from '../audit.ts';
import type { ConfigFile, StateDatabase, TargetFacts } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import type { RunSpec } from '../run-types.ts';
import { type Keyring, keyIdOf, parseKeyring } from '../security/keyring.ts';
import { MountedFile } from '../security/mounted-file.ts';
import { databaseKey } from '../state-database.ts';
import { checkRecord, recordConfigText, recordDatabase, storePasswordName } from './record-config.ts';
import { openHostCheck } from './record-hosts.ts';
import {
  type ArchivalRecord,
  deleteRecord,
  findRecord,
  insertRecord,
  listRecords,
  type RecordContent,
  recordsOfOtherKeys,
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

/** The scheduler asks every second. */
const enabledMs = 5_000;
const enabledMax = 10_000;

/** @throws AppError for an ENCRYPTION_KEY_FILE that cannot be used */
export function openRecords(
  database: StateDatabase,
  settings: ServiceSettings,
  configFile: Pick<ConfigFile, 'current'>,
  output: Pick<Output, 'event'>,
): Records {
  return new StoredRecords(database, settings, configFile, output);
}

class StoredRecords implements Records {
  readonly #database: StateDatabase;
  readonly #settings: ServiceSettings;
  readonly #configFile: Pick<ConfigFile, 'current'>;
  readonly #output: Pick<Output, 'event'>;
  readonly #keyring: MountedFile<Keyring> | null;
  readonly #checkHost: (host: string) => Promise<void>;
  #enabled: { readonly ids: readonly string[]; readonly atMs: number } | null = null;
  /** Key that everything was last sealed with. */
  #rotatedTo = '';

  constructor(
    database: StateDatabase,
    settings: ServiceSettings,
    configFile: Pick<ConfigFile, 'current'>,
    output: Pick<Output, 'event'>,
  ) {
    this.#database = database;
    this.#settings = settings;
    this.#configFile = configFile;
    this.#output = output;
    this.#checkHost = openHostCheck(settings.host, settings.archivalAllowedHosts);
    const { encryptionKeyFile: path } = settings;
    this.#keyring =
      path === undefined
        ? null
        : new MountedFile({
            path,
            setting: 'ENCRYPTION_KEY_FILE',
            parse: (text) => parseKeyring(text, path),
            warn: (message, fields) => output.event('warn', message, fields),
          });
  }

  async enabled(): Promise<readonly string[]> {
    const now = performance.now();
    if (this.#enabled !== null && now - this.#enabled.atMs < enabledMs) return this.#enabled.ids;
    await this.#rotate();
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
    const primary = this.#opened(record, 'primary');
    const archival = this.#opened(record, 'archival');
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
      await writePasswords(connection, id, this.#sealed(id, body, null));
      const details = { table: content.table, database: content.databaseKey, settings: content.settings };
      await audit.record(connection, { actor: by, action: 'archival.create', subject: `archival ${id}`, details });
      return found(await findRecord(connection, id), id);
    });
  }

  async update(id: string, body: RecordBody, version: string | null, by: string): Promise<ArchivalRecord> {
    const content = await this.#checked(body);
    return await this.#write(async (connection) => {
      const before = locked(await findRecord(connection, id, true), id, version);
      const passwords = this.#sealed(id, body, before);
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
    if (primary && !settings.primary_db_host) throw withoutHost('primary');
    if (archival && !settings.archival_db_host) throw withoutHost('archival');
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

  /** Passwords as they are to be kept: new ones sealed, those that were left out as they were. */
  #sealed(id: string, body: RecordBody, before: ArchivalRecord | null): SealedPasswords {
    const one = (kind: 'primary' | 'archival') => {
      if (!body[`${kind}_db_host`]) return null;
      const secret = body[`${kind}_db_password`];
      if (secret) return this.#keys().seal(secret, placeOf(id, kind));
      const kept = before === null ? null : keptPassword(before, kind);
      // Else whoever may change a record could have its password sent to a server of their own.
      if (kept !== null && before !== null && !sameServer(kind, before.settings, body))
        throw serviceError(
          'SERVICE_REQUEST_INVALID',
          `${kind}_db_password is to be given again where the server, account or tls change`,
          {
            details: { errors: [{ path: `${kind}_db_password`, message: 'is missing' }] },
          },
        );
      return kept;
    };
    return { primaryPassword: one('primary'), archivalPassword: one('archival') };
  }

  #opened(record: ArchivalRecord, kind: 'primary' | 'archival'): string {
    const sealed = keptPassword(record, kind);
    if (sealed === null) return '';
    const secret = this.#keys().open(sealed, placeOf(record.id, kind));
    registerSecret(secret);
    return secret;
  }

  #keys(): Keyring {
    if (this.#keyring) return this.#keyring.value;
    throw serviceError('SERVICE_ENCRYPTION_OFF', 'a password cannot be stored or read: ENCRYPTION_KEY_FILE is not set');
  }

  /** Seals everything with the newest key, once for each. A password that cannot be read stays as it is. */
  async #rotate(): Promise<void> {
    const keyring = this.#keyring?.value;
    if (!keyring || keyring.newest === this.#rotatedTo) return;
    const { newest } = keyring;
    const ids = await this.#database.use((connection) => recordsOfOtherKeys(connection, newest));
    let left = 0;
    for (const id of ids) left += (await this.#sealAnew(id, keyring)) ? 0 : 1;
    if (left > 0)
      this.#output.event('warn', 'stored passwords cannot be read with the keys there are', { records: left });
    this.#rotatedTo = newest;
  }

  async #sealAnew(id: string, keyring: Keyring): Promise<boolean> {
    return await this.#database.transaction(async (connection) => {
      const record = await findRecord(connection, id, true);
      if (!record) return true;
      const one = (kind: 'primary' | 'archival') => {
        const sealed = keptPassword(record, kind);
        if (sealed === null || keyIdOf(sealed) === keyring.newest) return sealed;
        return keyring.seal(keyring.open(sealed, placeOf(id, kind)), placeOf(id, kind));
      };
      try {
        await writePasswords(connection, id, { primaryPassword: one('primary'), archivalPassword: one('archival') });
      } catch (error) {
        if (isUnreadable(error)) return false;
        throw error;
      }
      const details = { key: keyring.newest };
      await audit.record(connection, {
        actor: 'service',
        action: 'archival.rotate',
        subject: `archival ${id}`,
        details,
      });
      return true;
    });
  }
}

function isUnreadable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'SERVICE_SECRET_UNREADABLE';
}

function placeOf(id: string, kind: 'primary' | 'archival'): string {
  return `archival ${id} ${kind}`;
}

function keptPassword(record: ArchivalRecord, kind: 'primary' | 'archival'): string | null {
  return kind === 'primary' ? record.primaryPassword : record.archivalPassword;
}

function sameServer(kind: 'primary' | 'archival', before: RecordSettings, after: RecordSettings): boolean {
  return (['host', 'port', 'user', 'tls'] as const).every(
    (key) => (before[`${kind}_db_${key}`] ?? null) === (after[`${kind}_db_${key}`] ?? null),
  );
}

function withoutHost(kind: 'primary' | 'archival') {
  const path = `${kind}_db_password`;
  return serviceError('SERVICE_REQUEST_INVALID', `${path} is for ${kind}_db_host, which is not given`, {
    details: { errors: [{ path, message: `is for ${kind}_db_host, which is not given` }] },
  });
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
