import { explainDatabaseError } from '@tableset/common/database/connection.ts';
import { runProgram } from '@tableset/common/program.ts';
import { loaderVerbs } from './verbs/index.ts';
import { programVersion } from './version.ts';

process.exitCode = await runProgram(
  {
    name: 'loader',
    meaning: 'loads reference data into MySQL or MariaDB tables, idempotently',
    version: programVersion,
    verbs: loaderVerbs,
    defaultVerb: null,
    explain: explainDatabaseError,
  },
  process.argv.slice(2),
  process.env,
);
