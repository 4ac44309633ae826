import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { LoadConfig } from '../config/load-config.ts';
import type { ServiceSettings } from '../settings-service.ts';
import { openRateLimit } from './api/rate-limit.ts';
import { openRecords } from './api/records.ts';
import { apiRoutes } from './api/routes.ts';
import { apiTables } from './api/tables.ts';
import { audit } from './audit.ts';
import { WatchedConfig } from './config-file.ts';
import type { ServiceContext } from './contracts.ts';
import { Dispatcher } from './dispatcher.ts';
import { serviceError } from './errors.ts';
import { openFacts } from './facts.ts';
import { openClientAddress } from './http/client-address.ts';
import { coreRoutes } from './http/core-routes.ts';
import { type Metrics, openMetrics } from './http/metrics.ts';
import type { Route } from './http/route.ts';
import { createServer } from './http/server.ts';
import { openBackgroundCalls } from './inline/background-calls.ts';
import { openThreadRunner } from './inline/thread-runner.ts';
import { alone, type Leadership } from './leadership.ts';
import { type Outbox, openOutbox } from './outbox/outbox.ts';
import { outboxRoutes } from './outbox/routes.ts';
import { outboxTables } from './outbox/tables.ts';
import { pageRoutes } from './page/routes.ts';
import { asAppError } from './run-error.ts';
import { openRunQueue } from './run-queue.ts';
import { openRegistry, pruneHistory } from './run-registry.ts';
import type { Runner } from './runner.ts';
import { readSchedules, Scheduler } from './schedules.ts';
import { type Authenticator, openAuthenticator } from './security/authenticator.ts';
import { type ConnectionPool, openStateDatabase } from './state-database.ts';
import { coreTables, ensureTables } from './tables.ts';
import { openTargets } from './targets.ts';

export interface ServeRequest {
  readonly settings: ServiceSettings;
  /** Reads the password's file anew at each call. */
  readonly databaseSettings: () => DatabaseSettings;
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly output: Output;
  /** SIGTERM: stop taking orders, and end what runs. */
  readonly signal: AbortSignal;
}

export interface ServeOutcome {
  /** done: everything had ended by itself; stopped: something had to be stopped, and goes on at the next start. */
  readonly outcome: 'done' | 'stopped';
}

const tablesRetryMs = 2_000;
const pruneMs = 3_600_000;

/**
 * Runs the service until `signal` fires. It answers /health as soon as its settings and configuration are found good, and waits for the database as long
 * as it takes.
 * @throws AppError for settings or a configuration that cannot be used, or an address that cannot be listened on
 */
export async function serve(request: ServeRequest): Promise<ServeOutcome> {
  const { settings, output, signal } = request;
  await using stack = new AsyncDisposableStack();
  const parts = await openParts(request, stack);
  const { service, dispatcher, scheduler, outbox } = parts;
  const close = await listen(parts);
  const begun = whenTablesAreMade(service, () => {
    parts.tablesMade = true;
    dispatcher.start();
    scheduler.start();
    outbox.start();
  });
  const stopWatching = watchForSignals(parts.configFile);
  const pruning = setInterval(() => void prune(service), pruneMs);
  await aborted(signal);
  output.event('info', 'the service is ending', { running: dispatcher.running.length });
  stopWatching();
  clearInterval(pruning);
  scheduler[Symbol.dispose]();
  await begun;
  const drained = await dispatcher.close(settings.shutdownSeconds * 1000);
  await close();
  await outbox[Symbol.asyncDispose]();
  return { outcome: drained ? 'done' : 'stopped' };
}

/** What `serve` works with. */
interface Parts {
  readonly service: ServiceContext;
  readonly configFile: WatchedConfig;
  readonly authenticator: Authenticator;
  readonly dispatcher: Dispatcher;
  readonly scheduler: Scheduler;
  readonly outbox: Outbox;
  readonly metrics: Metrics;
  tablesMade: boolean;
}

/** Makes every part; nothing of it works yet. */
async function openParts(request: ServeRequest, stack: AsyncDisposableStack): Promise<Parts> {
  const { settings, output, signal, databaseSettings, version } = request;
  const schedules = readSchedules(settings);
  const authenticator = await openAuthenticator(settings, (message, fields) => output.event('warn', message, fields));
  const configFile = stack.use(await openConfig(request));
  // Outlives the signal: the end of each run has to be written.
  const lifetime = new AbortController();
  stack.defer(() => lifetime.abort());
  const database = stack.use(openStateDatabase(databaseSettings, lifetime.signal));
  const replica = settings.podName ?? hostname();
  const leadership = stack.use(await openLeadership(request, database, replica));
  const runner = stack.use(await openRunner(request, database, replica));
  const calls = stack.use(openBackgroundCalls());
  const outbox = stack.use(openOutbox({ settings, database, configFile, leadership, output }));
  const metrics = openMetrics();
  const records = openRecords(database, settings, configFile, output);
  const { temporaryDirectory, queueSize, runAttempts, runRetrySeconds, runTimeoutSeconds } = settings;
  const targets = openTargets({ configFile, databaseSettings, records, temporaryDirectory });
  const endHooks = [outbox.hook];
  const dispatcher = new Dispatcher({
    ...{ database, targets, runner, leadership, endHooks, runRetrySeconds, runTimeoutSeconds, output },
    owner: `${replica}/${randomUUID().slice(0, 8)}`,
    listeners: [metrics.listener],
  });
  const queue = openRunQueue({ database, targets, dispatcher, audit, endHooks, queueSize, runAttempts });
  const { scheduleJitterSeconds: jitterSeconds, missedRunSeconds } = settings;
  const scheduler = stack.use(
    new Scheduler({
      ...{ schedules, database, configFile, targets, queue, leadership, jitterSeconds, missedRunSeconds, output },
      now: Date.now,
    }),
  );
  const registry = openRegistry(database);
  const service: ServiceContext = {
    ...{ settings, databaseSettings, version, replica, database, configFile, targets, registry, queue, leadership },
    ...{ calls, audit, authenticator, records, outbox, output, signal },
    clientAddress: openClientAddress(settings.trustedProxies),
    startedAt: new Date(),
    facts: openFacts(database, registry),
    tablesReady: () => parts.tablesMade,
    schedules: scheduler,
    now: Date.now,
  };
  const parts: Parts = {
    service,
    configFile,
    authenticator,
    dispatcher,
    scheduler,
    outbox,
    metrics,
    tablesMade: false,
  };
  return parts;
}

async function openConfig({ settings, output, env }: ServeRequest): Promise<WatchedConfig> {
  let first: LoadConfig | null = null;
  const accept = (config: LoadConfig) => {
    if (JSON.stringify(config.values['database']) === JSON.stringify(first?.values['database'])) return;
    throw serviceError('SERVICE_RESTART_NEEDED', `${settings.config} names another database`);
  };
  const pollSeconds = settings.configPollSeconds;
  const watched = await WatchedConfig.open({ path: settings.config, pollSeconds, output, env, accept });
  first = watched.current.config;
  return watched;
}

async function openLeadership(request: ServeRequest, database: ConnectionPool, replica: string): Promise<Leadership> {
  const { settings, output, signal } = request;
  if (settings.leaseName === undefined) return alone(replica);
  const { openLease } = await import('./job/open-job.ts');
  return await openLease({ settings, database, replica, output, signal });
}

async function openRunner(request: ServeRequest, database: ConnectionPool, replica: string): Promise<Runner> {
  const { settings, output, signal } = request;
  if (settings.worker === 'inline') return openThreadRunner();
  const { openJobRunner } = await import('./job/open-job.ts');
  return await openJobRunner({ settings, database, replica, output, signal });
}

/** @returns what closes the server again */
async function listen({ service, authenticator, metrics }: Parts): Promise<() => Promise<void>> {
  const { settings, output } = service;
  const all: readonly Route[] = [
    ...coreRoutes(metrics, service.version, () => all),
    ...apiRoutes,
    ...outboxRoutes,
    ...pageRoutes,
  ];
  const rateLimit = openRateLimit(settings.rateLimitPerMinute, service.now);
  const app = createServer({ routes: all, service, authenticator, rateLimit });
  const { healthServerHost: host, healthServerPort: port } = settings;
  try {
    const address = await app.listen({ host, port });
    output.event('info', 'listening', { address });
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw serviceError('SERVICE_ADDRESS_IN_USE', `the service cannot listen on ${host}:${port} (${code})`, { cause });
  }
  if (authenticator.triggerOpen)
    output.event('warn', 'anybody who reaches the port may trigger runs: set TRIGGER_TOKEN_FILE');
  return async () => await app.close();
}

/** Makes the tables as soon as the database lets it, then begins. Ends early when the service does. */
async function whenTablesAreMade(service: ServiceContext, begin: () => void): Promise<void> {
  const { signal, output, database } = service;
  const tables = [...coreTables, ...apiTables, ...outboxTables];
  for (let told = ''; !signal.aborted; ) {
    try {
      await database.use((connection) => ensureTables(connection, tables));
      if (signal.aborted) return;
      return begin();
    } catch (error) {
      const { code, message, hint } = asAppError(error);
      if (told !== code)
        output.event('error', 'the tables of the service cannot be made yet', { code, error: message, hint });
      told = code;
      await delay(tablesRetryMs, undefined, { signal }).catch(() => {});
    }
  }
}

function watchForSignals(configFile: WatchedConfig): () => void {
  const onHangUp = () => void configFile.check(true);
  process.on('SIGHUP', onHangUp);
  return () => process.off('SIGHUP', onHangUp);
}

async function prune({ leadership, database, settings, output }: ServiceContext): Promise<void> {
  if (!leadership.leader) return;
  try {
    // A bounded number at once; what is left goes in an hour.
    for (let round = 0; round < 10; round++)
      if ((await database.use((connection) => pruneHistory(connection, settings.historyDays))) === 0) return;
  } catch (error) {
    const { code, message } = asAppError(error);
    output.event('warn', 'old runs could not be deleted', { code, error: message });
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
