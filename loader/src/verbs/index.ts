import type { Verb } from '@tableset/common/program.ts';
import { archive } from './archive.ts';
import { load } from './load.ts';
import { purge } from './purge.ts';
import { restore } from './restore.ts';
import { retry } from './retry.ts';
import { schema } from './schema.ts';
import { serve } from './serve.ts';
import { status } from './status.ts';
import { validate } from './validate.ts';
import { verify } from './verify.ts';
import { work } from './work.ts';

/** Every verb of the loader, in the order that help shows them. */
export const loaderVerbs: readonly Verb[] = [
  load,
  archive,
  purge,
  restore,
  verify,
  status,
  serve,
  retry,
  work,
  validate,
  schema,
];
