import type { Verb } from '@tableset/common/program.ts';
import { load } from './load.ts';
import { schema } from './schema.ts';
import { validate } from './validate.ts';

/** Every verb of the loader, in the order that help shows them. */
export const loaderVerbs: readonly Verb[] = [load, validate, schema];
