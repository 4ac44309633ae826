import { commonError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { ServiceSettings } from '../../settings-service.ts';
import type { StateDatabase } from '../contracts.ts';
import type { Leadership } from '../leadership.ts';
import type { Runner } from '../runner.ts';

export interface JobParts {
  readonly settings: ServiceSettings;
  readonly database: StateDatabase;
  readonly replica: string;
  readonly output: Output;
  readonly signal: AbortSignal;
}

/** Runs as Kubernetes Jobs. */
export async function openJobRunner(_parts: JobParts): Promise<Runner> {
  throw commonError('SETTING_INVALID', 'WORKER was given "job"; it takes one of inline');
}

/** Leadership by a Kubernetes Lease. */
export async function openLease(_parts: JobParts): Promise<Leadership> {
  throw commonError('SETTING_INVALID', 'LEASE_NAME is set, and there is no Lease here yet');
}
