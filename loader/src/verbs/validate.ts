import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import { configSettingTable } from '../settings.ts';

export const validate = defineVerb({
  name: 'validate',
  meaning: 'Check the configuration file without touching anything; faults are named by line.',
  usage: '[--config F]',
  positionals: [0, 0],
  report: true,
  settings: configSettingTable,
  async run({ values }): Promise<VerbResult> {
    const { readConfig } = await import('../config/read.ts');
    const config = await readConfig(values.config);
    const tables = config.load.map((task) => task.table);
    const archive = config.archive.map((task) => task.table);
    const stores = config.stores.map((store) => store.name);
    const archives = archive.length === 0 ? '' : ` and archives ${archive.join(', ')}`;
    const verbs = [...(tables.length === 0 ? [] : ['load']), ...(archive.length === 0 ? [] : ['archive'])];
    const compare = verbs.map((verb) => `loader ${verb} --dry-run`).join(' and ');
    return {
      summary: { outcome: 'done', config: values.config, tables, archive, stores },
      lines: [
        `${values.config} is valid; it loads ${tables.length === 0 ? 'nothing' : tables.join(', ')}${archives}`,
        `The names of tables and columns were not compared with the database; for that use ${compare}.`,
      ],
    };
  },
});
