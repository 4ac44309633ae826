/** What a build for the harness gives away: the programs' verbs, and how they tell what the driver threw. */
export { explainDatabaseError } from '@tableset/common/database/explain.ts';
export { parseArguments } from '@tableset/common/settings/settings.ts';
export { loaderVerbs } from '../../loader/src/verbs/index.ts';
export { migratorVerbs } from '../../migrator/src/verbs/index.ts';
