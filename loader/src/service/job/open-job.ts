import { readFile } from 'node:fs/promises';
import { commonError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { ServiceSettings } from '../../settings-service.ts';
import type { StateDatabase } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import type { Leadership } from '../leadership.ts';
import type { Runner } from '../runner.ts';
import { openCluster } from './cluster.ts';
import { openJobs } from './job-runner.ts';
import { openLeaseLeadership } from './lease-leadership.ts';
import { readTemplate } from './template.ts';

export interface JobParts {
  readonly settings: ServiceSettings;
  readonly database: StateDatabase;
  readonly replica: string;
  readonly output: Output;
  readonly signal: AbortSignal;
}

/**
 * Runs as Kubernetes Jobs.
 * @throws AppError SETTING_MISSING, SETTING_INVALID, SERVICE_WORKER_TEMPLATE
 */
export async function openJobRunner({ settings, database, output }: JobParts): Promise<Runner> {
  const { workerTemplateFile: path, workerImage, runTimeoutSeconds, podNamespace } = settings;
  if (path === undefined) throw commonError('SETTING_MISSING', 'WORKER=job needs WORKER_TEMPLATE_FILE');
  const template = readTemplate(await templateText(path), path, workerImage, runTimeoutSeconds);
  const cluster = await openCluster(podNamespace, process.env);
  return openJobs({ database, cluster, template, output });
}

/**
 * Leadership by a Kubernetes Lease.
 * @throws AppError SETTING_MISSING, SETTING_INVALID
 */
export async function openLease({ settings, replica, output }: JobParts): Promise<Leadership> {
  const { leaseName: name, podNamespace } = settings;
  if (name === undefined) throw commonError('SETTING_MISSING', 'a Lease needs LEASE_NAME');
  const cluster = await openCluster(podNamespace, process.env);
  return await openLeaseLeadership({ cluster, name, replica, output });
}

async function templateText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw serviceError('SERVICE_WORKER_TEMPLATE', `${path} cannot be read`, { cause });
  }
}
