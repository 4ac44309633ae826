import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';

/**
 * A process that runs something on this process's behalf and clears up after it. It learns of this process's end by
 * the end of a pipe, so it also clears up when this process is killed and could not do so itself.
 */
export interface Guard extends AsyncDisposable {
  /** Resolves when the guarded program has ended and everything is cleared up. */
  readonly ended: Promise<void>;
  /** The last output of the guarded program, at most about 8,000 characters. */
  output(): string;
}

/** Runs PROGRAM until the pipe on standard input closes or it ends by itself, then removes FOLDER. */
const programGuard = `
folder=$1; shift
exec 3<&0
"$@" 3<&- </dev/null & program=$!
(cat <&3 >/dev/null; kill -KILL "$program") 2>/dev/null & watcher=$!
wait "$program" 2>/dev/null
kill "$watcher" 2>/dev/null
rm -rf "$folder"`;

/** Waits for the end of the pipe, then runs a command. */
const commandGuard = 'cat >/dev/null; "$@" >/dev/null 2>&1';

/** Runs a program that is killed, and its folder removed, when the guard is disposed of or this process is gone. */
export function guardProgram(folder: string, program: string, args: readonly string[], env: NodeJS.ProcessEnv): Guard {
  return start(programGuard, [folder, program, ...args], env);
}

/** Runs a command when the guard is disposed of or this process is gone. */
export function guardCommand(command: string, args: readonly string[]): Guard {
  return start(commandGuard, [command, ...args], process.env);
}

function start(script: string, args: readonly string[], env: NodeJS.ProcessEnv): Guard {
  // In a session of its own: Ctrl-C at a terminal must not end the guard before it has cleared up.
  const child = spawn('/bin/sh', ['-c', script, 'guard', ...args], { detached: true, env, stdio: 'pipe' });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-8000);
    });
  }
  const ended = once(child, 'exit').then(() => undefined);
  child.stdin.on('error', () => {});
  letGo(child, child.stdin);
  return {
    ended,
    output: () => output,
    async [Symbol.asyncDispose]() {
      child.ref();
      child.stdin.end();
      await ended;
    },
  };
}

/** The guard must not keep this process alive: its end is what the guard waits for. */
function letGo(child: ChildProcess, input: Writable): void {
  child.unref();
  for (const stream of [input, child.stdout, child.stderr]) {
    // Pipes of a child are sockets, which the declared types do not say.
    if (stream !== null && 'unref' in stream && typeof stream.unref === 'function') stream.unref();
  }
}
