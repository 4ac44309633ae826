import { databaseSettingTable } from '@tableset/common/settings/database.ts';
import { choice, integer, type Kind, list, path, text, toggle } from '@tableset/common/settings/kinds.ts';
import type { SettingTable, ValuesOf } from '@tableset/common/settings/settings.ts';
import * as z from 'zod/mini';
import { parseNetwork } from './service/http/client-address.ts';
import { configSettingTable, loadSettingTable } from './settings.ts';

function cron(flag: string, env: string, task: string, standard: string) {
  return {
    flag,
    env,
    kind: { ...text('CRON'), takes: 'five cron fields such as "0 2 * * *", or off' },
    default: standard,
    meaning: `When to ${task}, in SCHEDULE_TIME_ZONE; off for never.`,
  } as const;
}

const networks: Kind<readonly string[]> = {
  ...list('CIDR'),
  takes: 'addresses or networks such as 10.0.0.0/8, separated by commas',
  schema: z.readonly(z.array(z.string().check(z.refine((text) => parseNetwork(text) !== null)))),
};

const listenSettings = {
  healthServerHost: {
    flag: 'health-server-host',
    env: 'HEALTH_SERVER_HOST',
    kind: text('HOST'),
    default: '0.0.0.0',
    meaning: 'Address to listen on.',
  },
  healthServerPort: {
    flag: 'health-server-port',
    env: 'HEALTH_SERVER_PORT',
    kind: integer(0, 65535, 'PORT'),
    default: 8080,
    meaning: 'Port to listen on; 0 for any that is free.',
  },
} as const satisfies SettingTable;

const scheduleSettings = {
  loadCron: cron('cron-schedule', 'CRON_SCHEDULE', 'load', '0 */6 * * *'),
  archiveCron: cron('archival-job-cron', 'ARCHIVAL_JOB_CRON', 'archive', '0 2 * * *'),
  purgeCron: cron('purge-job-cron', 'PURGE_JOB_CRON', 'purge', '0 3 * * *'),
  verifyCron: cron('verify-job-cron', 'VERIFY_JOB_CRON', 'restore a sample as a drill', 'off'),
  scheduleTimeZone: {
    flag: 'schedule-time-zone',
    env: 'SCHEDULE_TIME_ZONE',
    kind: { ...text('ZONE'), takes: 'a time zone such as Europe/Berlin' },
    default: 'UTC',
    meaning: 'Zone of the schedules.',
  },
  scheduleJitterSeconds: {
    flag: 'schedule-jitter-seconds',
    env: 'SCHEDULE_JITTER_SECONDS',
    kind: integer(0, 3600, 'SECONDS'),
    default: 0,
    meaning: 'Scheduled runs begin up to this much later, so that many services do not ask one source at once.',
  },
  missedRunSeconds: {
    flag: 'missed-run-seconds',
    env: 'MISSED_RUN_SECONDS',
    kind: integer(0, 604_800, 'SECONDS'),
    default: 3600,
    meaning:
      'A run that was due while nothing was there to start it is made up for within this time, once; 0 for never.',
  },
} as const satisfies SettingTable;

const queueSettings = {
  queueSize: {
    flag: 'queue-size',
    env: 'QUEUE_SIZE',
    kind: integer(1, 10_000),
    default: 128,
    meaning: 'Runs that may wait; beyond that a trigger is answered with 429 and Retry-After.',
  },
  runAttempts: {
    flag: 'run-attempts',
    env: 'RUN_ATTEMPTS',
    kind: integer(1, 20),
    default: 3,
    meaning: 'How often a run is tried while it fails with what a retry may help (exit 1 or 75).',
  },
  runRetrySeconds: {
    flag: 'run-retry-seconds',
    env: 'RUN_RETRY_SECONDS',
    kind: integer(0, 3600, 'SECONDS'),
    default: 10,
    meaning: 'Pause before the second try; it doubles each time.',
  },
  runTimeoutSeconds: {
    flag: 'run-timeout-seconds',
    env: 'RUN_TIMEOUT_SECONDS',
    kind: integer(1, 604_800, 'SECONDS'),
    default: 18_000,
    meaning: 'Longest that one try may take before it is stopped at a safe point and failed.',
  },
  shutdownSeconds: {
    flag: 'shutdown-seconds',
    env: 'SHUTDOWN_SECONDS',
    kind: integer(0, 3600, 'SECONDS'),
    default: 20,
    meaning:
      'How long SIGTERM lets running work go on before it is stopped at a safe point, which takes up to 10 s more.',
  },
  historyDays: {
    flag: 'history-days',
    env: 'HISTORY_DAYS',
    kind: integer(1, 36_500, 'DAYS'),
    default: 90,
    meaning: 'How long ended runs and the audit trail are kept.',
  },
  configPollSeconds: {
    flag: 'config-poll-seconds',
    env: 'CONFIG_POLL_SECONDS',
    kind: integer(1, 3600, 'SECONDS'),
    default: 5,
    meaning: 'How often the configuration file is looked at for changes; SIGHUP does so at once.',
  },
} as const satisfies SettingTable;

const apiSettings = {
  triggerTokenFile: {
    flag: 'trigger-token-file',
    env: 'TRIGGER_TOKEN_FILE',
    kind: path(),
    meaning:
      'File that holds the bearer token POST /trigger asks for. Without it and without JWT_SECRET_KEY_FILE anybody may trigger.',
  },
  jwtSecretKeyFile: {
    flag: 'jwt-secret-key-file',
    env: 'JWT_SECRET_KEY_FILE',
    kind: path(),
    meaning: 'File that holds the key which signs tokens, at least 32 bytes. Without it /api/v1 is off.',
  },
  jwtLifetimeSeconds: {
    flag: 'jwt-lifetime-seconds',
    env: 'JWT_LIFETIME_SECONDS',
    kind: integer(60, 86_400, 'SECONDS'),
    default: 900,
    meaning: 'How long a token is good for.',
  },
  apiClientsFile: {
    flag: 'api-clients-file',
    env: 'API_CLIENTS_FILE',
    kind: path(),
    meaning: 'File that lists the clients of the API: id, hash of the secret, roles.',
  },
  encryptionKeyFile: {
    flag: 'encryption-key-file',
    env: 'ENCRYPTION_KEY_FILE',
    kind: path(),
    meaning:
      'File that holds the keys which passwords are stored with, the newest first: ID:BASE64 of 32 bytes, one a line.',
  },
  archivalAllowedHosts: {
    flag: 'archival-allowed-hosts',
    env: 'ARCHIVAL_ALLOWED_HOSTS',
    kind: list('HOST'),
    default: [],
    defaultMeaning: 'any but this machine and link-local addresses',
    meaning:
      'Database hosts that archival records of the API may name beside DB_HOST, exactly or as *.SUFFIX; once it is set, no others.',
  },
  rateLimitPerMinute: {
    flag: 'rate-limit-per-minute',
    env: 'RATE_LIMIT_PER_MINUTE',
    kind: integer(1, 1_000_000),
    default: 600,
    meaning: 'Requests to /trigger and /api/v1 that one address may make in a minute.',
  },
  trustedProxies: {
    flag: 'trusted-proxies',
    env: 'TRUSTED_PROXIES',
    kind: networks,
    default: [],
    defaultMeaning: 'none',
    meaning:
      'Proxies whose X-Forwarded-For tells the address that limits and the audit trail go by; from anybody else it is ignored.',
  },
} as const satisfies SettingTable;

const workerSettings = {
  worker: {
    flag: 'worker',
    env: 'WORKER',
    kind: choice('inline', 'job'),
    default: 'inline',
    meaning: 'inline: runs are done by this process; job: each by a Kubernetes Job of its own.',
  },
  workerImage: {
    flag: 'worker-image',
    env: 'WORKER_IMAGE',
    kind: text('IMAGE'),
    defaultMeaning: "the template's",
    meaning: 'Image of worker Jobs.',
  },
  workerTemplateFile: {
    flag: 'worker-template-file',
    env: 'WORKER_TEMPLATE_FILE',
    kind: path(),
    meaning: 'File that holds the Job that each run is made from, as JSON or YAML; nothing in it comes from a caller.',
  },
  leaseName: {
    flag: 'lease-name',
    env: 'LEASE_NAME',
    kind: text('NAME'),
    defaultMeaning: 'none: one replica',
    meaning: 'Kubernetes Lease by which replicas elect the one that schedules.',
  },
  podNamespace: {
    flag: 'pod-namespace',
    env: 'POD_NAMESPACE',
    kind: text('NAMESPACE'),
    defaultMeaning: "the service account's",
    meaning: 'Namespace of the Lease and of worker Jobs.',
  },
  podName: {
    flag: 'pod-name',
    env: 'POD_NAME',
    kind: text('NAME'),
    defaultMeaning: "the host's name",
    meaning: 'Name of this replica.',
  },
} as const satisfies SettingTable;

const webhookSettings = {
  webhookUrl: {
    env: 'WEBHOOK_URL',
    kind: text('URL'),
    meaning:
      'Address that is told when a run changed something, beside those of the configuration file. It may hold a token, so there is no flag.',
    secret: true,
  },
  webhookSecretFile: {
    flag: 'webhook-secret-file',
    env: 'WEBHOOK_SECRET_FILE',
    kind: path(),
    meaning: 'File that holds the secret which signs what WEBHOOK_URL is told; it must be set with it.',
  },
  webhookAllowedHosts: {
    flag: 'webhook-allowed-hosts',
    env: 'WEBHOOK_ALLOWED_HOSTS',
    kind: list('HOST'),
    default: [],
    meaning: 'Hosts that webhooks which came in through the API may have although their addresses are not public.',
  },
  webhookAttempts: {
    flag: 'webhook-attempts',
    env: 'WEBHOOK_ATTEMPTS',
    kind: integer(1, 100),
    default: 12,
    meaning: 'How often the service tries to tell one notice before it becomes a dead letter, which can be replayed.',
  },
  webhookRetrySeconds: {
    flag: 'webhook-retry-seconds',
    env: 'WEBHOOK_RETRY_SECONDS',
    kind: integer(0, 3600, 'SECONDS'),
    default: 5,
    meaning: 'Pause before a notice is told again; it doubles each time, up to an hour.',
  },
} as const satisfies SettingTable;

/** Settings of `loader serve`. */
export const serviceSettingTable = {
  ...configSettingTable,
  ...databaseSettingTable,
  temporaryDirectory: loadSettingTable.temporaryDirectory,
  ...listenSettings,
  ...scheduleSettings,
  ...queueSettings,
  ...apiSettings,
  ...workerSettings,
  ...webhookSettings,
} as const satisfies SettingTable;

export type ServiceSettings = ValuesOf<typeof serviceSettingTable>;

/** Settings of `loader work`. */
export const workSettingTable = {
  ...configSettingTable,
  ...databaseSettingTable,
  temporaryDirectory: loadSettingTable.temporaryDirectory,
  encryptionKeyFile: apiSettings.encryptionKeyFile,
  archivalAllowedHosts: apiSettings.archivalAllowedHosts,
  run: { flag: 'run', kind: text('ID'), required: true, meaning: 'Number of the run.' },
  token: { flag: 'token', kind: text('TOKEN'), required: true, meaning: 'Token that the run was claimed with.' },
} as const satisfies SettingTable;

export type WorkSettings = ValuesOf<typeof workSettingTable>;

/** Settings of `loader retry`. */
export const retrySettingTable = {
  ...configSettingTable,
  ...databaseSettingTable,
  failed: {
    flag: 'failed',
    kind: toggle(),
    default: false,
    meaning: 'All failed runs that nobody has retried yet, at most 100 at once.',
  },
  deadLetters: {
    flag: 'dead-letters',
    kind: toggle(),
    default: false,
    meaning: 'Instead of runs, all notices for webhooks that were given up, at most 1000 at once.',
  },
  queueSize: queueSettings.queueSize,
  runAttempts: queueSettings.runAttempts,
  webhookAttempts: webhookSettings.webhookAttempts,
} as const satisfies SettingTable;
