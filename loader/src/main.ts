import { explainDatabaseError } from '@tableset/common/database/connection.ts';
import { runProgram } from '@tableset/common/program.ts';
import { load } from './verbs/load.ts';
import { schema } from './verbs/schema.ts';
import { validate } from './verbs/validate.ts';
import { programVersion } from './version.ts';

process.exitCode = await runProgram(
  {
    name: 'loader',
    meaning: 'loads reference data into MySQL or MariaDB tables, idempotently',
    version: programVersion,
    verbs: [load, validate, schema],
    defaultVerb: null,
    explain: explainDatabaseError,
  },
  process.argv.slice(2),
  process.env,
);
