import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

export interface CommandOptions {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  readonly cwd?: string;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever that is. */
export async function attempt(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { input = '', ...rest } = options;
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...rest });
  child.stdin.on('error', () => {
    // A program that ended before it had read everything says why itself.
  });
  child.stdin.end(input);
  // The exit code comes with the event, null after a signal.
  const ended = once(child, 'close') as Promise<[number | null]>;
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code: code ?? 1, stdout, stderr };
}

/** Runs a program that must succeed. @returns what it printed @throws with its own words */
export async function command(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await attempt(program, args, options);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}:\n${stderr}${stdout.slice(-2000)}`);
  return stdout;
}

/** Asks again and again until the answer is not undefined or false. @throws when the time is over, with the last error */
export async function eventually<Answer>(
  what: string,
  ask: () => Promise<Answer | undefined | false>,
  seconds = 240,
): Promise<Answer> {
  const deadline = Date.now() + seconds * 1000;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`after ${seconds} s still not so: ${what}`, { cause: last });
    await pause(400);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What every check of a case goes through: a false one ends the case. */
export function expectThat(holds: boolean, statement: string, facts?: unknown): asserts holds {
  if (!holds) {
    const shown = facts === undefined ? '' : `: ${typeof facts === 'string' ? facts : JSON.stringify(facts)}`;
    throw new Error(`this should hold, and does not: ${statement}${shown}`);
  }
}
