import { setTimeout as delay } from 'node:timers/promises';
import type { Output } from '@tableset/common/output/output.ts';
import type { StateDatabase } from '../contracts.ts';
import { asAppError } from '../run-error.ts';
import type { RunObserver, RunRecord, RunResult } from '../run-types.ts';
import type { RunHandle, Runner } from '../runner.ts';
import type { Cluster } from './cluster.ts';
import { JobRun, type Pace } from './job-run.ts';
import { type JobTemplate, workerJob, workerName } from './template.ts';
import { nameWorker, readWorker } from './worker-rows.ts';

export interface JobRunnerParts {
  readonly database: StateDatabase;
  readonly cluster: Cluster;
  readonly template: JobTemplate;
  readonly output: Output;
  readonly pace?: Partial<Pace>;
}

/** How often the API server is asked to make a Job while it does not answer. */
const makeTriesMax = 4;

/** Each run in a Kubernetes Job of its own, in the namespace of the service. */
export function openJobs(parts: JobRunnerParts): Runner {
  const { cluster, database, template } = parts;
  const following = new Set<RunHandle>();
  const follow = (run: RunRecord, worker: string, observer: RunObserver, begin: () => Promise<RunResult | null>) => {
    const handle = new JobRun({ ...parts, run, worker, observer, begin });
    following.add(handle);
    void handle.result.finally(() => following.delete(handle));
    return handle;
  };
  return {
    kind: 'job',
    start({ run }, observer) {
      const worker = workerName(template, run);
      return follow(run, worker, observer, async () => {
        // First the name: a Job that the row does not name does nothing.
        const owned = await database.use((connection) => nameWorker(connection, run, worker));
        if (!owned) return { state: 'released' };
        observer.started(worker);
        await make(parts, run);
        return null;
      });
    },
    async adopt(run, observer) {
      const { worker } = run;
      if (worker === null) return null;
      const row = await database.use((connection) => readWorker(connection, run.id, worker));
      // With the result written down the Job is no longer needed.
      if (!row?.result && (await cluster.job(worker)) === null) return null;
      return follow(run, worker, observer, async () => null);
    },
    async [Symbol.asyncDispose]() {
      for (const handle of following) handle.release();
      await Promise.all(Array.from(following, ({ result }) => result));
    },
  };
}

/** A request whose answer got lost may have made it: the name is the same at each try, so that there is one. */
async function make({ cluster, template }: JobRunnerParts, run: RunRecord): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await cluster.createJob(workerJob(template, run));
    } catch (error) {
      if (asAppError(error).code !== 'SERVICE_CLUSTER_UNAVAILABLE' || attempt >= makeTriesMax) throw error;
      await delay(500 * 2 ** attempt);
    }
  }
}
