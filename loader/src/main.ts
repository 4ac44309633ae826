import { explainDatabaseError } from '@tableset/common/database/explain.ts';
import { runProgram } from '@tableset/common/program.ts';
import { runMode } from './run-mode.ts';
import { loaderVerbs } from './verbs/index.ts';
import { programVersion } from './version.ts';

const exitCode = await runProgram(
  {
    name: 'loader',
    meaning: 'loads reference data into MySQL or MariaDB tables, idempotently',
    version: programVersion,
    verbs: loaderVerbs,
    ...runMode(process.env['RUN_MODE']),
    explain: explainDatabaseError,
  },
  process.argv.slice(2),
  process.env,
);

// All that was to be written is written; waiting for sockets' farewells would only take time.
process.exit(exitCode);
