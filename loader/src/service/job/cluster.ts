import { existsSync } from 'node:fs';
import type { KubeConfig, RequestContext, V1Job, V1Lease, V1Pod } from '@kubernetes/client-node';
import { commonError } from '@tableset/common/errors.ts';
import { serviceError } from '../errors.ts';
import { workerContainer } from './template.ts';

/** What the service asks of Kubernetes, all in one namespace. Errors are SERVICE_CLUSTER_UNAVAILABLE or SERVICE_CLUSTER_REFUSED. */
export interface Cluster {
  readonly namespace: string;
  /** A Job of that name that is there already is left as it is: whoever asks twice gets one. */
  createJob(job: V1Job): Promise<void>;
  job(name: string): Promise<JobFacts | null>;
  /** Ends its pods as their grace periods say; it is there until they are gone. */
  removeJob(name: string): Promise<void>;
  /** The newest pod of a Job. */
  pod(jobName: string): Promise<PodFacts | null>;
  /** The last lines of the worker's log. */
  logTail(podName: string): Promise<string>;
  lease(name: string): Promise<V1Lease | null>;
  /** Null: another has made it. */
  createLease(lease: V1Lease): Promise<V1Lease | null>;
  /** Null: it has changed since it was read. */
  replaceLease(lease: V1Lease): Promise<V1Lease | null>;
}

export interface JobFacts {
  readonly name: string;
  readonly ended: 'complete' | 'failed' | null;
  /** Why it failed, in Kubernetes' words. */
  readonly reason: string | null;
}

export interface PodFacts {
  readonly name: string;
  /** Its container runs, or has run. */
  readonly started: boolean;
  /** Why it does not start yet, in Kubernetes' words. */
  readonly waitsFor: string | null;
  readonly exit: number | null;
  /** Error, OOMKilled, Completed. */
  readonly reason: string | null;
  /** What it wrote into its termination log: the summary. */
  readonly message: string | null;
}

const requestMs = 10_000;
/** A dispatcher is made anew this often, so that a renewed certificate authority is taken up. */
const dispatcherMs = 600_000;
const logLines = 60;
/** Beyond it the server leaves out the end, which is what is wanted. */
const logBytes = 1_048_576;
const logTailMax = 16_000;
const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Connects as the pod's service account, or as KUBECONFIG says where that is set. The client is loaded here and nowhere else: it takes
 * 40 MiB of memory.
 * @throws AppError SETTING_INVALID where there is neither
 */
export async function openCluster(
  namespace: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Cluster> {
  const client = await import('@kubernetes/client-node');
  const config = new client.KubeConfig();
  const { KUBECONFIG: file } = env;
  if (file) config.loadFromFile(file);
  else if (existsSync(`${serviceAccountFolder}/token`)) config.loadFromCluster();
  else
    throw commonError(
      'SETTING_INVALID',
      'WORKER=job and LEASE_NAME need Kubernetes: there is no service account here, and KUBECONFIG is not set',
    );
  shareConnections(config);
  const own = namespace ?? config.getContextObject(config.getCurrentContext())?.namespace ?? 'default';
  const clients = {
    batch: config.makeApiClient(client.BatchV1Api),
    core: config.makeApiClient(client.CoreV1Api),
    coordination: config.makeApiClient(client.CoordinationV1Api),
  };
  const codeOf = (error: unknown) => (error instanceof client.ApiException ? error : null);
  return clusterOf(clients, own, codeOf);
}

/** The client would make connections anew for each request, and wait for ever for an answer. */
function shareConnections(config: KubeConfig): void {
  const apply = config.applySecurityAuthentication.bind(config);
  let shared: { readonly dispatcher: ReturnType<RequestContext['getDispatcher']>; readonly at: number } | null = null;
  config.applySecurityAuthentication = async (context) => {
    await apply(context);
    context.setSignal(AbortSignal.timeout(requestMs));
    const now = performance.now();
    if (shared === null || now - shared.at > dispatcherMs) shared = { dispatcher: context.getDispatcher(), at: now };
    if (shared.dispatcher !== undefined) context.setDispatcher(shared.dispatcher);
  };
}

type Clients = Readonly<{
  batch: import('@kubernetes/client-node').BatchV1Api;
  core: import('@kubernetes/client-node').CoreV1Api;
  coordination: import('@kubernetes/client-node').CoordinationV1Api;
}>;
type ServerError = { readonly code: number; readonly body: unknown };

function clusterOf(
  { batch, core, coordination }: Clients,
  namespace: string,
  serverError: (error: unknown) => ServerError | null,
): Cluster {
  /** `expected` are answers of the server that are no error: they become null. */
  const ask = async <T>(what: string, expected: number | null, body: () => Promise<T>): Promise<T | null> => {
    try {
      return await body();
    } catch (error) {
      const answer = serverError(error);
      if (answer !== null && answer.code === expected) return null;
      throw clusterError(what, answer, error);
    }
  };
  const labelled = (jobName: string) => ({ namespace, labelSelector: `batch.kubernetes.io/job-name=${jobName}` });
  return {
    namespace,
    async createJob(job) {
      await ask('make a Job', 409, () => batch.createNamespacedJob({ namespace, body: job }));
    },
    async job(name) {
      const job = await ask('read a Job', 404, () => batch.readNamespacedJob({ namespace, name }));
      return job && jobFacts(job);
    },
    async removeJob(name) {
      const propagationPolicy = 'Foreground';
      await ask('delete a Job', 404, () => batch.deleteNamespacedJob({ namespace, name, propagationPolicy }));
    },
    async pod(jobName) {
      const pods = await ask('list pods', null, () => core.listNamespacedPod(labelled(jobName)));
      const created = (pod: V1Pod) => pod.metadata?.creationTimestamp?.getTime() ?? 0;
      const newest = (pods?.items ?? []).toSorted((a, b) => created(b) - created(a))[0];
      return newest ? podFacts(newest) : null;
    },
    async logTail(name) {
      const options = { namespace, name, container: workerContainer, tailLines: logLines, limitBytes: logBytes };
      const lines = await ask('read a log', 404, () => core.readNamespacedPodLog(options));
      return (lines ?? '').slice(-logTailMax);
    },
    lease: async (name) =>
      await ask('read the Lease', 404, () => coordination.readNamespacedLease({ namespace, name })),
    createLease: async (lease) =>
      await ask('make the Lease', 409, () => coordination.createNamespacedLease({ namespace, body: lease })),
    async replaceLease(lease) {
      const request = { namespace, name: lease.metadata?.name ?? '', body: lease };
      return await ask('renew the Lease', 409, () => coordination.replaceNamespacedLease(request));
    },
  };
}

function clusterError(what: string, answer: ServerError | null, cause: unknown): Error {
  if (answer === null) {
    // What fetch throws says nothing; why stands in its cause.
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const reason = inner instanceof Error ? inner.message : String(inner);
    return serviceError('SERVICE_CLUSTER_UNAVAILABLE', `the API server could not be asked to ${what}: ${reason}`, {
      cause,
    });
  }
  const { code, body } = answer;
  const text = `the API server does not let the service ${what} (${code}): ${messageOf(body)}`;
  const passing = code === 429 || code >= 500;
  return serviceError(passing ? 'SERVICE_CLUSTER_UNAVAILABLE' : 'SERVICE_CLUSTER_REFUSED', text, { cause });
}

/** The server answers with a Status, which comes parsed or as text. */
function messageOf(body: unknown): string {
  let status = body;
  if (typeof body === 'string') {
    try {
      status = JSON.parse(body);
    } catch {
      return body.slice(0, 500);
    }
  }
  const message = typeof status === 'object' && status !== null && 'message' in status ? status.message : '';
  return String(message).slice(0, 500);
}

function jobFacts({ metadata, status }: V1Job): JobFacts {
  const holds = (type: string) => status?.conditions?.find((each) => each.type === type && each.status === 'True');
  const failed = holds('Failed');
  const reason = failed ? [failed.reason, failed.message].filter(Boolean).join(': ') : null;
  return { name: metadata?.name ?? '', ended: failed ? 'failed' : holds('Complete') ? 'complete' : null, reason };
}

function podFacts({ metadata, status }: V1Pod): PodFacts {
  const container = status?.containerStatuses?.find(({ name }) => name === workerContainer);
  const ended = container?.state?.terminated;
  const waiting = container?.state?.waiting;
  const unscheduled = status?.conditions?.find(
    ({ type, status: holds }) => type === 'PodScheduled' && holds === 'False',
  );
  const why = [waiting?.reason ?? unscheduled?.reason, waiting?.message ?? unscheduled?.message];
  return {
    name: metadata?.name ?? '',
    started: ended !== undefined || container?.state?.running !== undefined || status?.phase === 'Failed',
    waitsFor: why.filter(Boolean).join(': ') || null,
    exit: ended?.exitCode ?? null,
    reason: ended?.reason ?? status?.reason ?? null,
    message: ended?.message ?? status?.message ?? null,
  };
}
