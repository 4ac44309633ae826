import { AppError, commonError } from './errors.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';
import { createOutput, type Fields, type Level, type Output } from './output/output.ts';
import { writeAll } from './output/write.ts';
import { choice, toggle } from './settings/kinds.ts';
import { nearestName } from './settings/nearest.ts';
import {
  parseArguments,
  resolveSettings,
  type SettingSources,
  type SettingTable,
  type ValuesOf,
} from './settings/settings.ts';

/** Settings that every verb of both programs has. */
export const outputSettingTable = {
  json: {
    flag: 'json',
    kind: toggle(),
    default: false,
    meaning: 'Print the summary as one JSON document alone on stdout; logs go to stderr.',
  },
  logLevel: {
    flag: 'log-level',
    env: 'LOG_LEVEL',
    kind: choice('debug', 'info', 'warn', 'error'),
    default: 'info',
    meaning: 'Least severe events to print.',
  },
} as const satisfies SettingTable;

export interface VerbContext<Table extends SettingTable> {
  readonly values: ValuesOf<Table>;
  readonly positionals: readonly string[];
  readonly output: Output;
  /** Fires on SIGTERM or SIGINT: stop at the next safe point. */
  readonly signal: AbortSignal;
}

export interface VerbResult {
  /** done, skipped … with what `--json` prints beside it. */
  readonly summary: Fields & { readonly outcome: string };
  /** The same for people. */
  readonly lines: readonly string[];
  /** 0 unless said otherwise: a verb that ends with findings rather than an error, such as `validate`. */
  readonly exit?: ExitCode;
}

export interface Verb {
  readonly name: string;
  readonly meaning: string;
  /** Shown after the verb's name in help: `V --as applied|rolled-back|retry`. */
  readonly usage: string;
  /** Least and most number of words after the verb. */
  readonly positionals: readonly [number, number];
  readonly settings: SettingTable;
  /** Its lines are its product, and are printed also where stdout is no terminal. */
  readonly report: boolean;
  run(invocation: Invocation): Promise<VerbResult>;
}

export interface Invocation {
  readonly given: ReturnType<typeof parseArguments>['given'];
  readonly positionals: readonly string[];
  readonly env: SettingSources['env'];
  readonly output: Output;
  readonly signal: AbortSignal;
}

/**
 * Ties a verb's settings to its body, so that the body gets typed values. `readFile` finds and reads the configuration file
 * from what flags and environment say; its values come after theirs.
 */
export function defineVerb<const Table extends SettingTable>(
  verb: Omit<Verb, 'settings' | 'run'> & {
    readonly settings: Table;
    readonly readFile?: (invocation: Invocation) => Promise<SettingSources['file']>;
    run(context: VerbContext<Table>): Promise<VerbResult>;
  },
): Verb {
  const { run, readFile, ...rest } = verb;
  return {
    ...rest,
    settings: { ...verb.settings, ...outputSettingTable },
    run: async (invocation) => {
      const file = await readFile?.(invocation);
      const values = resolveSettings(verb.settings, invocation.given, {
        env: invocation.env,
        ...(file ? { file } : {}),
      });
      return run({ values, positionals: invocation.positionals, output: invocation.output, signal: invocation.signal });
    },
  };
}

export interface Program {
  readonly name: string;
  readonly meaning: string;
  readonly version: string;
  readonly verbs: readonly Verb[];
  /** The verb when none is named, or null where one must be. */
  readonly defaultVerb: string | null;
  /** Why it cannot be told which verb is the default. */
  readonly defaultVerbFault?: AppError | null;
  /** Turns what a library threw into the documented error, null if it is unknown. */
  readonly explain: (error: unknown) => AppError | null;
}

/**
 * Runs one program from argv to its exit code: help, settings, the verb, its summary, and errors each printed once.
 * Only `main.ts` calls it, and exits with what it returns.
 */
export async function runProgram(
  program: Program,
  argv: readonly string[],
  env: SettingSources['env'],
): Promise<ExitCode> {
  const [first] = argv;
  if (first === '--version') return print(`${program.name} ${program.version}`);
  const named = first !== undefined && !first.startsWith('-');
  const rest = named ? argv.slice(1) : argv;
  if (first === 'help' || (!named && (first === '--help' || first === '-h'))) {
    const about = program.verbs.find((verb) => verb.name === rest[0]);
    return print(about ? (await helpModule()).verbHelp(program, about) : (await helpModule()).programHelp(program));
  }
  const json = argv.includes('--json');
  const name = named ? first : program.defaultVerb;
  const verb = program.verbs.find((candidate) => candidate.name === name);
  if (!named && program.defaultVerbFault)
    return fail(program, program.defaultVerbFault, output(program, null, json, 'info'), null);
  if (!verb) return fail(program, unknownVerb(program, name), output(program, null, json, 'info'), null);
  return await runVerb(program, verb, rest, env, json);
}

async function runVerb(
  program: Program,
  verb: Verb,
  argv: readonly string[],
  env: SettingSources['env'],
  json: boolean,
): Promise<ExitCode> {
  const started = performance.now();
  let out = output(program, verb, json, 'info');
  try {
    const { given, positionals, help } = parseArguments(verb.settings, argv);
    if (help) return print((await helpModule()).verbHelp(program, verb));
    checkPositionals(program, verb, positionals);
    const common = resolveSettings(outputSettingTable, given, { env });
    out = output(program, verb, common.json, common.logLevel);
    const signal = stopSignal();
    const { summary, lines, exit } = await verb.run({ given, positionals, env, output: out, signal });
    const seconds = Math.round(performance.now() - started) / 1000;
    const { outcome, ...counts } = summary;
    out.finish({ outcome, seconds, ...counts }, lines, false);
    return exit ?? exitCodes.done;
  } catch (error) {
    return fail(program, error, out, (performance.now() - started) / 1000);
  }
}

function checkPositionals(program: Program, verb: Verb, positionals: readonly string[]): void {
  const [least, most] = verb.positionals;
  if (positionals.length >= least && positionals.length <= most) return;
  const extra = positionals[most];
  throw commonError(
    positionals.length < least ? 'SETTING_MISSING' : 'SETTING_UNKNOWN',
    extra === undefined
      ? `${verb.name} takes ${verb.usage}`
      : `${verb.name} does not take the word ${JSON.stringify(extra)}`,
    { hint: `Usage: ${program.name} ${verb.name} ${verb.usage}`.trimEnd() },
  );
}

/** Loaded only when help is asked for: the start of a pod pays for nothing it does not use. */
function helpModule() {
  return import('./program-help.ts');
}

function output(program: Program, verb: Verb | null, json: boolean, level: Level): Output {
  return createOutput({
    program: program.name,
    level,
    json,
    report: verb?.report ?? false,
    terminal: process.stdout.isTTY === true,
  });
}

function print(lines: string | readonly string[]): ExitCode {
  writeAll(1, `${typeof lines === 'string' ? lines : lines.join('\n')}\n`);
  return exitCodes.done;
}

function unknownVerb(program: Program, name: string | null | undefined): AppError {
  const names = program.verbs.map((verb) => verb.name);
  if (!name) {
    return commonError('SETTING_MISSING', `${program.name} needs a verb: ${names.join(', ')}`, {
      hint: `${program.name} --help says what each does.`,
    });
  }
  const near = nearestName(name, names);
  return commonError(
    'SETTING_UNKNOWN',
    `there is no verb ${JSON.stringify(name)}${near ? `; did you mean ${near}?` : ''}`,
    { hint: `Verbs: ${names.join(', ')}.` },
  );
}

function fail(program: Program, thrown: unknown, out: Output, seconds: number | null): ExitCode {
  const error = thrown instanceof AppError ? thrown : (program.explain(thrown) ?? internal(thrown));
  const stack = error.code === 'INTERNAL' && thrown instanceof Error ? { stack: thrown.stack } : {};
  const { summary, ...details } = error.details;
  const described = { code: error.code, message: error.message, hint: error.hint, ...details };
  // The last line says it where lines are logged; beside a JSON document alone on stdout, the log on stderr says it too.
  if (out.json || stack.stack) out.event('error', 'failed', { ...described, ...stack });
  const outcome = error.code === 'STOPPED' ? 'stopped' : 'failed';
  const partial = typeof summary === 'object' && summary !== null ? summary : {};
  out.finish(
    {
      ...partial,
      outcome,
      ...(seconds === null ? {} : { seconds: Math.round(seconds * 1000) / 1000 }),
      error: described,
    },
    [`✗ ${error.code}: ${error.message}`, `  ${error.hint}`],
    true,
  );
  return error.exit;
}

function internal(thrown: unknown): AppError {
  return commonError('INTERNAL', thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
}

/** A signal that SIGTERM and SIGINT fire; a second one ends the process at once, as people at a terminal expect. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(exitCodes.stopped);
      controller.abort(commonError('STOPPED', `stopped by ${name}`));
    });
  }
  return controller.signal;
}
