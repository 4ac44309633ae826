import type { V1Job } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { serviceError } from '../errors.ts';

/** The Job that every run's is made from. It comes from the operator's file alone. */
export interface JobTemplate {
  readonly job: V1Job;
  /** What names of Jobs begin with. */
  readonly prefix: string;
}

/** What a worker Job says of itself in labels. */
const runLabel = 'tableset/run';
const tokenLabel = 'tableset/token';

/** The container that does the run. */
export const workerContainer = 'database-load';

/** With `-ID-TOKEN` behind it the name still fits into a label of 63 characters. */
const prefixMax = 40;
/** A worker that the service has lost sight of ends this long after the time that a run may take. */
const deadlineMarginSeconds = 300;

/**
 * Checks the operator's template once, at the start.
 * @param image goes before the template's
 * @param runTimeoutSeconds how long a try may take
 * @throws AppError SERVICE_WORKER_TEMPLATE
 */
export function readTemplate(
  text: string,
  path: string,
  image: string | undefined,
  runTimeoutSeconds: number,
): JobTemplate {
  const refuse = (why: string) => serviceError('SERVICE_WORKER_TEMPLATE', `${path}: ${why}`);
  let parsed: unknown;
  try {
    parsed = parse(text);
  } catch (cause) {
    throw serviceError('SERVICE_WORKER_TEMPLATE', `${path} is neither JSON nor YAML`, { cause });
  }
  // Whatever is wrong with what is not looked at here, the API server refuses when a Job is made.
  const job = parsed as V1Job | null;
  if (job?.apiVersion !== 'batch/v1' || job.kind !== 'Job') throw refuse('it is no Job of batch/v1');
  const prefix = job.metadata?.name;
  if (!prefix || !/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(prefix) || prefix.length > prefixMax)
    throw refuse(`metadata.name must be a name of at most ${prefixMax} characters`);
  const pod = job.spec?.template?.spec;
  const [container, ...others] = pod?.containers ?? [];
  if (container?.name !== workerContainer || others.length > 0)
    throw refuse(`it must have one container, named ${workerContainer}`);
  if (container.args || container.command) throw refuse('its container must have neither args nor command');
  if (!image && !container.image) throw refuse('its container has no image, and WORKER_IMAGE is not set');
  if (pod?.restartPolicy !== 'Never' || job.spec?.backoffLimit !== 0)
    throw refuse('it must have restartPolicy Never and backoffLimit 0: tries are counted in the ledger');
  const spec = { activeDeadlineSeconds: runTimeoutSeconds + deadlineMarginSeconds, ...job.spec };
  const containers = [{ ...container, ...(image ? { image } : {}) }];
  const template = { ...job.spec.template, spec: { ...pod, containers } };
  return { job: { ...job, spec: { ...spec, template } }, prefix };
}

/** A worker's Job is named after its run and the token that it was claimed with, so that no two tries share one. */
export function workerName(template: JobTemplate, run: { readonly id: string; readonly token: string }): string {
  return `${template.prefix}-${run.id}-${run.token}`;
}

/** The Job of one run: the template, and two numbers. Nothing that a caller said is in it. */
export function workerJob(template: JobTemplate, run: { readonly id: string; readonly token: string }): V1Job {
  for (const number of [run.id, run.token])
    if (!/^\d{1,20}$/.test(number)) throw serviceError('SERVICE_WORKER_TEMPLATE', 'a run and its token are numbers');
  const { job } = template;
  const labels = { [runLabel]: run.id, [tokenLabel]: run.token };
  const pod = job.spec?.template;
  const containers = (pod?.spec?.containers ?? []).map((container) => ({
    ...container,
    args: ['work', '--run', run.id, '--token', run.token],
  }));
  return {
    ...job,
    metadata: {
      ...job.metadata,
      name: workerName(template, run),
      labels: { ...job.metadata?.labels, ...labels },
    },
    spec: {
      ...job.spec,
      template: {
        ...pod,
        metadata: { ...pod?.metadata, labels: { ...pod?.metadata?.labels, ...labels } },
        spec: { ...pod?.spec, containers },
      },
    },
  };
}
