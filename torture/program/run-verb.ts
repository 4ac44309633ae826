import { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { Programs } from './build.ts';

export type VerbName = 'load' | 'archive' | 'purge' | 'restore' | 'verify' | 'up';

/** How a verb ended, as the program would tell it. */
export interface VerbRun {
  readonly exit: number;
  /** Null if it did not fail. */
  readonly code: string | null;
  readonly message: string;
  readonly summary: Readonly<Record<string, unknown>>;
  readonly events: readonly string[];
  readonly seconds: number;
}

/** Nothing may hang: a verb that goes on for longer counts as hung. */
const hungMs = 60_000;

/** Runs a verb in this process, on a session of its own making: what it leaves open, the harness closes as the end of a process would. */
export async function runVerb(
  { verbs }: Programs,
  name: VerbName,
  words: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<VerbRun> {
  const started = performance.now();
  const verb = [...verbs.loaderVerbs, ...verbs.migratorVerbs].find((each) => each.name === name);
  if (!verb) throw new Error(`there is no verb ${name}`);
  const events: string[] = [];
  const output: Output = {
    terminal: false,
    json: true,
    event: (level, message, fields) => void events.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
    progress: () => {},
    finish: () => {},
  };
  const ended = (end: Omit<VerbRun, 'events' | 'seconds'>): VerbRun => ({
    ...end,
    events,
    seconds: (performance.now() - started) / 1000,
  });
  const stop = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const hung = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      stop.abort(new Error('hung'));
      reject(new Error(`${name} has not ended after ${hungMs / 1000} s`));
    }, hungMs);
  });
  try {
    const { given, positionals } = verbs.parseArguments(verb.settings, words);
    const { summary, exit } = await Promise.race([
      verb.run({ given, positionals, env, output, signal: stop.signal }),
      hung,
    ]);
    return ended({ exit: exit ?? 0, code: null, message: '', summary });
  } catch (error) {
    const known = isAppError(error) ? error : verbs.explainDatabaseError(error);
    if (known) {
      const { summary } = known.details;
      return ended({ exit: known.exit, code: known.code, message: known.message, summary: recordOf(summary) });
    }
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return ended({ exit: 1, code: 'INTERNAL', message, summary: {} });
  } finally {
    clearTimeout(timer);
  }
}

/** The build has a class of its own of that name. */
function isAppError(error: unknown): error is AppError {
  return error instanceof AppError || (error instanceof Error && error.constructor.name.includes('AppError'));
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  // Details hold a summary or nothing.
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
