import { commonError } from '../errors.ts';
import { choice, integer, path, secretText, text, toggle } from './kinds.ts';
import { readSecretFile, type SettingTable, type ValuesOf } from './settings.ts';

/** The database that a run works on; both images and every verb share these. */
export const databaseSettingTable = {
  host: {
    flag: 'db-host',
    env: 'DB_HOST',
    file: 'database.host',
    kind: text('HOST'),
    required: true,
    meaning: 'Host name or address of the MySQL or MariaDB server.',
  },
  port: {
    flag: 'db-port',
    env: 'DB_PORT',
    file: 'database.port',
    kind: integer(1, 65535, 'PORT'),
    default: 3306,
    meaning: 'Port of the server.',
  },
  user: {
    flag: 'db-user',
    env: 'DB_USER',
    file: 'database.user',
    kind: text('USER'),
    required: true,
    meaning: 'Account to log in with.',
  },
  password: {
    env: 'DB_PASSWORD',
    kind: secretText(),
    secret: true,
    meaning: 'Password of the account; a file is safer. Never a flag.',
  },
  passwordFile: {
    flag: 'db-password-file',
    env: 'DB_PASSWORD_FILE',
    file: 'database.passwordFile',
    kind: path(),
    meaning: 'File that holds the password, such as a mounted secret.',
  },
  name: {
    flag: 'db-name',
    env: 'DB_NAME',
    file: 'database.name',
    kind: text('SCHEMA'),
    required: true,
    meaning: 'Schema to work on; it must exist.',
  },
  tls: {
    flag: 'db-tls',
    env: 'DB_TLS',
    file: 'database.tls',
    kind: choice('disable', 'require', 'verify'),
    default: 'disable',
    meaning: 'disable: plain; require: encrypted, any certificate; verify: certificate and host name are checked.',
  },
  tlsCaFile: {
    flag: 'db-tls-ca-file',
    env: 'DB_TLS_CA_FILE',
    file: 'database.tlsCaFile',
    kind: path(),
    defaultMeaning: "the system's authorities",
    meaning: 'PEM file of the authorities to trust with DB_TLS=verify.',
  },
  waitSeconds: {
    flag: 'db-wait-seconds',
    env: 'DB_WAIT_SECONDS',
    file: 'database.waitSeconds',
    kind: integer(0, 86400, 'SECONDS'),
    default: 60,
    meaning: 'How long to wait for a server that is not up yet.',
  },
  singleWriter: {
    flag: 'db-single-writer',
    env: 'DB_SINGLE_WRITER',
    file: 'database.singleWriter',
    kind: toggle(),
    default: false,
    meaning:
      'Confirms that on Galera, multi-primary group replication or Vitess all writers go through this one node, where the lock then excludes.',
  },
} as const satisfies SettingTable;

/** What a run does when another holds the lock of the schema. */
export const lockSettingTable = {
  onBusy: {
    flag: 'on-busy',
    env: 'ON_BUSY',
    file: 'onBusy',
    kind: choice('wait', 'skip', 'fail'),
    default: 'fail',
    meaning: 'When another run holds the lock: wait for it, skip with exit 0, or fail with exit 75.',
  },
  lockWaitSeconds: {
    flag: 'lock-wait-seconds',
    env: 'LOCK_WAIT_SECONDS',
    file: 'lockWaitSeconds',
    kind: integer(1, 86400, 'SECONDS'),
    default: 600,
    meaning: 'How long --on-busy wait waits.',
  },
} as const satisfies SettingTable;

/** What the ledger says of who started a run. */
export const triggerSettingTable = {
  trigger: {
    flag: 'trigger',
    env: 'RUN_TRIGGER',
    kind: choice('cli', 'init', 'cron', 'manual', 'service'),
    default: 'cli',
    meaning: 'Who started the run, for tableset_runs; the charts set it.',
  },
} as const satisfies SettingTable;

export interface DatabaseSettings {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly name: string;
  readonly tls: 'disable' | 'require' | 'verify';
  readonly tlsCaFile: string | undefined;
  readonly waitSeconds: number;
  readonly singleWriter: boolean;
}

export interface LockSettings {
  readonly onBusy: 'wait' | 'skip' | 'fail';
  readonly lockWaitSeconds: number;
}

/**
 * Completes the database settings by reading the password's file.
 * @throws AppError SETTING_INVALID if both ways of giving the password are used, CONFIG_UNREADABLE if the file cannot be read.
 */
export function databaseSettings(values: ValuesOf<typeof databaseSettingTable>): DatabaseSettings {
  const { password, passwordFile, ...rest } = values;
  if (password !== undefined && passwordFile !== undefined) {
    throw commonError('SETTING_INVALID', 'DB_PASSWORD and DB_PASSWORD_FILE are both set; use one of them');
  }
  if (rest.tlsCaFile !== undefined && rest.tls !== 'verify') {
    throw commonError(
      'SETTING_INVALID',
      `DB_TLS_CA_FILE is set but DB_TLS is ${rest.tls}, which checks no certificate`,
      {
        hint: 'Set DB_TLS=verify, or leave DB_TLS_CA_FILE out.',
      },
    );
  }
  return {
    ...rest,
    password:
      passwordFile === undefined
        ? (password ?? '')
        : readSecretFile(passwordFile, 'DB_PASSWORD_FILE (database.passwordFile)'),
  };
}
