import { type AppError, commonError } from '@tableset/common/errors.ts';

/**
 * What the image does where no verb is named: `RUN_MODE=service` has it serve; oneshot, the default, has it ask for a verb.
 * @param value of RUN_MODE; empty is as good as none
 */
export function runMode(value: string | undefined): {
  readonly defaultVerb: string | null;
  readonly defaultVerbFault: AppError | null;
} {
  if (value === 'service') return { defaultVerb: 'serve', defaultVerbFault: null };
  if (value === undefined || value === '' || value === 'oneshot') return { defaultVerb: null, defaultVerbFault: null };
  const defaultVerbFault = commonError(
    'SETTING_INVALID',
    `RUN_MODE is ${JSON.stringify(value)}; it takes oneshot or service`,
  );
  return { defaultVerb: null, defaultVerbFault };
}
