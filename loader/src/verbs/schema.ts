import { defineVerb, type VerbResult } from '@tableset/common/program.ts';

export const schema = defineVerb({
  name: 'schema',
  meaning: 'Print the JSON Schema of the configuration file, for editors.',
  usage: '',
  positionals: [0, 0],
  report: true,
  settings: {},
  async run(): Promise<VerbResult> {
    const { configurationJsonSchema } = await import('../config/reference.ts');
    const document = configurationJsonSchema();
    return { summary: { outcome: 'done', schema: document }, lines: [JSON.stringify(document, null, 2)] };
  },
});
