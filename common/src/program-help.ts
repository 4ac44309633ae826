import { exitCodes } from './exit-codes.ts';
import type { Program, Verb } from './program.ts';
import { settingsHelp } from './settings/help.ts';

/** Help of a whole program: its verbs and exit codes. */
export function programHelp(program: Program): string[] {
  const width = Math.max(...program.verbs.map((verb) => verb.name.length));
  return [
    `${program.name} ${program.version}: ${program.meaning}`,
    '',
    `Usage: ${program.name} ${program.defaultVerb === null ? 'VERB' : '[VERB]'} [flags]`,
    '',
    ...program.verbs.map(
      (verb) => `  ${verb.name.padEnd(width)}  ${verb.meaning}${verb.name === program.defaultVerb ? ' (default)' : ''}`,
    ),
    '',
    `${program.name} VERB --help shows the settings of a verb.`,
    exitCodesLine,
  ];
}

/** Help of one verb: usage and every setting's flag, variable, default and meaning. */
export function verbHelp(program: Program, verb: Verb): string[] {
  return [
    `${program.name} ${verb.name}: ${verb.meaning}`,
    '',
    `Usage: ${program.name} ${verb.name} ${verb.usage}`.trimEnd(),
    '',
    'A flag comes before its environment variable, that before the configuration file.',
    ...settingsHelp(verb.settings),
    '',
    exitCodesLine,
  ];
}

const exitCodesLine = `Exit codes: ${exitCodes.done} done, ${exitCodes.transient} worth a retry, ${exitCodes.usage} settings or usage, ${exitCodes.refused} data or schema refused, ${exitCodes.busy} another run holds the lock, ${exitCodes.stopped} stopped at a safe point.`;
