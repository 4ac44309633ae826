import { runProgram } from '@tableset/common/program.ts';
import { adopt } from './verbs/adopt.ts';
import { baseline } from './verbs/baseline.ts';
import { down } from './verbs/down.ts';
import { create } from './verbs/new.ts';
import { resolve } from './verbs/resolve.ts';
import { status } from './verbs/status.ts';
import { up } from './verbs/up.ts';
import { validate } from './verbs/validate.ts';
import { programVersion } from './version.ts';

process.exitCode = await runProgram(
  {
    name: 'migrator',
    meaning: 'brings the schema of a MySQL or MariaDB database up to date',
    version: programVersion,
    verbs: [up, status, validate, create, down, resolve, baseline, adopt],
    defaultVerb: 'up',
    // Operations explain what the server throws themselves, because they know which server it is.
    explain: () => null,
  },
  process.argv.slice(2),
  process.env,
);
