import { runProgram } from '@tableset/common/program.ts';
import { migratorVerbs } from './verbs/index.ts';
import { programVersion } from './version.ts';

const exitCode = await runProgram(
  {
    name: 'migrator',
    meaning: 'brings the schema of a MySQL or MariaDB database up to date',
    version: programVersion,
    verbs: migratorVerbs,
    defaultVerb: 'up',
    // Operations explain what the server throws themselves, because they know which server it is.
    explain: () => null,
  },
  process.argv.slice(2),
  process.env,
);

// All that was to be written is written; waiting for the socket's farewell would only take time.
process.exit(exitCode);
