import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { Records } from './api/records.ts';
import type { ConfigFile, LoadedConfig, TargetFacts, Targets } from './contracts.ts';
import type { RunRecord, RunSpec, RunTask } from './run-types.ts';
import { databaseKey } from './state-database.ts';

export interface TargetParts {
  readonly configFile: ConfigFile;
  readonly databaseSettings: () => DatabaseSettings;
  readonly records: Records;
  readonly temporaryDirectory: string;
}

/** A run of the service waits its turn rather than failing at once when a CronJob or a person holds the lock. */
const lock = { onBusy: 'wait', lockWaitSeconds: 600 } as const;

export function openTargets({ configFile, databaseSettings, records, temporaryDirectory }: TargetParts): Targets {
  return {
    async describe(target): Promise<TargetFacts> {
      if (target.kind === 'record') return await records.describe(target.id);
      return { databaseKey: databaseKey(databaseSettings()), tables: tablesByTask(configFile.current) };
    },
    async spec(run: RunRecord): Promise<RunSpec> {
      if (run.target.kind === 'record')
        return { ...(await records.spec(run.target.id)), run, lock, temporaryDirectory };
      const { text, path } = configFile.current;
      return {
        run,
        configText: text,
        configPath: path,
        env: {},
        database: databaseSettings(),
        lock,
        temporaryDirectory,
      };
    },
    async all() {
      const enabled = await records.enabled();
      return [{ kind: 'file' }, ...enabled.map((id) => ({ kind: 'record', id }) as const)];
    },
  };
}

/** What each task can be asked for. Tables that are not enabled stay in the archive, where they can be read, restored and purged. */
export function tablesByTask({ config }: Pick<LoadedConfig, 'config'>): Readonly<Record<RunTask, readonly string[]>> {
  const archived = config.archive.map((task) => task.table);
  return {
    load: config.load.map((task) => task.table),
    archive: config.archive.filter((task) => task.enabled).map((task) => task.table),
    purge: archived,
    restore: archived,
    verify: archived,
  };
}
