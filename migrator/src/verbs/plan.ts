import { defineVerb } from '@tableset/common/program.ts';
import { toggle } from '@tableset/common/settings/kinds.ts';
import { targetOf } from '../request.ts';
import { connectionSettingTable, executionSettingTable } from '../settings.ts';

export const plan = defineVerb({
  name: 'plan',
  meaning: 'Try the pending statements on an empty copy of the schema, and say what each would do.',
  usage: '',
  positionals: [0, 0],
  report: true,
  settings: {
    ...connectionSettingTable,
    lockTimeoutSeconds: executionSettingTable.lockTimeoutSeconds,
    outOfOrder: {
      flag: 'out-of-order',
      env: 'MIGRATIONS_OUT_OF_ORDER',
      kind: toggle(),
      default: false,
      meaning: 'Also plan migrations older than the newest applied one.',
    },
  },
  async run({ values, output, signal }) {
    const { planPending } = await import('../plan/plan-pending.ts');
    return await planPending({ ...values, target: targetOf(values) }, output, signal);
  },
});
