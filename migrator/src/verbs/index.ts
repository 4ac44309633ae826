import type { Verb } from '@tableset/common/program.ts';
import { adopt } from './adopt.ts';
import { baseline } from './baseline.ts';
import { down } from './down.ts';
import { create } from './new.ts';
import { plan } from './plan.ts';
import { resolve } from './resolve.ts';
import { status } from './status.ts';
import { up } from './up.ts';
import { validate } from './validate.ts';

/** Every verb of the migrator, in the order that help shows them. */
export const migratorVerbs: readonly Verb[] = [up, status, plan, validate, create, down, resolve, baseline, adopt];
