import { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { registerSecret } from '@tableset/common/output/redact.ts';
import { audit } from '../audit.ts';
import type { StateDatabase } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import { type Keyring, keyIdOf, parseKeyring } from '../security/keyring.ts';
import { MountedFile } from '../security/mounted-file.ts';
import {
  type ArchivalRecord,
  findRecord,
  recordsOfOtherKeys,
  type SealedPasswords,
  writePasswords,
} from './record-rows.ts';
import type { RecordBody, RecordSettings } from './record-schema.ts';

/** Of the table's server, or of the archive's. */
type Side = 'primary' | 'archival';

/** Seals and opens the passwords of records with the keys of ENCRYPTION_KEY_FILE, which is read again when it changes. */
export class RecordPasswords {
  readonly #database: StateDatabase;
  readonly #output: Pick<Output, 'event'>;
  readonly #keyring: MountedFile<Keyring> | null;
  /** Key that everything was last sealed with. */
  #rotatedTo = '';

  /** @throws AppError for a file that cannot be used */
  constructor(database: StateDatabase, path: string | undefined, output: Pick<Output, 'event'>) {
    this.#database = database;
    this.#output = output;
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

  /**
   * The passwords as they are to be kept: new ones sealed, those that were left out as they were.
   * @throws AppError SERVICE_ENCRYPTION_OFF, or SERVICE_REQUEST_INVALID for one that is left out although its server changes
   */
  seal(id: string, body: RecordBody, before: ArchivalRecord | null): SealedPasswords {
    const one = (side: Side) => {
      if (!body[`${side}_db_host`]) return null;
      const secret = body[`${side}_db_password`];
      if (secret) return this.#keys().seal(secret, placeOf(id, side));
      const kept = before === null ? null : sealedOf(before, side);
      // Else whoever may change a record could have its password sent to a server of their own.
      if (kept !== null && before !== null && !isSameServer(side, before.settings, body))
        throw invalid(side, 'is to be given again where the server, account or tls change');
      return kept;
    };
    return { primaryPassword: one('primary'), archivalPassword: one('archival') };
  }

  /** Empty where there is none. @throws AppError SERVICE_ENCRYPTION_OFF, SERVICE_SECRET_UNREADABLE */
  open(record: ArchivalRecord, side: Side): string {
    const sealed = sealedOf(record, side);
    if (sealed === null) return '';
    const secret = this.#keys().open(sealed, placeOf(record.id, side));
    registerSecret(secret);
    return secret;
  }

  /** Seals everything with the newest key, once for each key. A password that cannot be read stays as it is, and is told of. */
  async rotate(): Promise<void> {
    const keyring = this.#keyring?.value;
    if (!keyring || keyring.newest === this.#rotatedTo) return;
    const { newest } = keyring;
    const ids = await this.#database.use((connection) => recordsOfOtherKeys(connection, newest));
    let unreadable = 0;
    for (const id of ids) unreadable += (await this.#sealAnew(id, keyring)) ? 0 : 1;
    if (unreadable > 0)
      this.#output.event('warn', 'stored passwords cannot be read with the keys there are', { records: unreadable });
    this.#rotatedTo = newest;
  }

  async #sealAnew(id: string, keyring: Keyring): Promise<boolean> {
    return await this.#database.transaction(async (connection) => {
      const record = await findRecord(connection, id, true);
      if (!record) return true;
      const one = (side: Side) => {
        const sealed = sealedOf(record, side);
        if (sealed === null || keyIdOf(sealed) === keyring.newest) return sealed;
        return keyring.seal(keyring.open(sealed, placeOf(id, side)), placeOf(id, side));
      };
      try {
        await writePasswords(connection, id, { primaryPassword: one('primary'), archivalPassword: one('archival') });
      } catch (error) {
        if (error instanceof AppError && error.code === 'SERVICE_SECRET_UNREADABLE') return false;
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

  #keys(): Keyring {
    if (this.#keyring) return this.#keyring.value;
    throw serviceError('SERVICE_ENCRYPTION_OFF', 'a password cannot be stored or read: ENCRYPTION_KEY_FILE is not set');
  }
}

/** @throws AppError SERVICE_REQUEST_INVALID for a password without its server */
export function checkPasswordPlaces(body: RecordBody): void {
  for (const side of ['primary', 'archival'] as const)
    if (body[`${side}_db_password`] && !body[`${side}_db_host`])
      throw invalid(side, `is for ${side}_db_host, which is not given`);
}

function placeOf(id: string, side: Side): string {
  return `archival ${id} ${side}`;
}

function sealedOf(record: ArchivalRecord, side: Side): string | null {
  return side === 'primary' ? record.primaryPassword : record.archivalPassword;
}

function isSameServer(side: Side, before: RecordSettings, after: RecordSettings): boolean {
  return (['host', 'port', 'user', 'tls'] as const).every(
    (key) => (before[`${side}_db_${key}`] ?? null) === (after[`${side}_db_${key}`] ?? null),
  );
}

function invalid(side: Side, message: string) {
  const path = `${side}_db_password`;
  return serviceError('SERVICE_REQUEST_INVALID', `${path} ${message}`, { details: { errors: [{ path, message }] } });
}
