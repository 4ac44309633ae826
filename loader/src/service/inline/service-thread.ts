import { parentPort } from 'node:worker_threads';
import { commonError } from '@tableset/common/errors.ts';
import type { Fields, Level, Output, Progress } from '@tableset/common/output/output.ts';
import { redact } from '@tableset/common/output/redact.ts';
import { executeTask } from '../execute-task.ts';
import { asAppError } from '../run-error.ts';
import type { RunSpec } from '../run-types.ts';
import type { FromThread, ToThread } from './messages.ts';
import { threadCalls } from './thread-calls.ts';

/* The entry of a worker thread: it does one run at a time, or answers calls, and speaks by messages alone. */

const progressMs = 250;

const port = parentPort;
if (port === null) throw new Error('this module is the entry of a worker thread');
const say = (message: FromThread) => port.postMessage(message);

let running: { readonly controller: AbortController; why: 'cancelled' | 'shutdown' } | null = null;
const calls = new Map<number, AbortController>();

port.on('message', (message: ToThread) => {
  if (message.type === 'run') void run(message.spec);
  else if (message.type === 'call') void answer(message.id, message.name, message.argument);
  else if (message.type === 'abort') calls.get(message.id)?.abort(commonError('STOPPED', 'nobody waits for it'));
  else if (running !== null) {
    running.why = message.why;
    running.controller.abort(
      commonError('STOPPED', message.why === 'cancelled' ? 'cancelled' : 'the service is ending'),
    );
  }
});

async function run(spec: RunSpec): Promise<void> {
  const current = { controller: new AbortController(), why: 'shutdown' as 'cancelled' | 'shutdown' };
  running = current;
  say({ type: 'started' });
  const result = await executeTask(spec, threadOutput(), current.controller.signal, () => current.why);
  running = null;
  // What an error quotes may hold a secret that only this thread knows of.
  say({ type: 'result', result: clean(result) });
}

async function answer(id: number, name: string, argument: unknown): Promise<void> {
  const controller = new AbortController();
  calls.set(id, controller);
  try {
    const call = Object.hasOwn(threadCalls, name) ? threadCalls[name] : undefined;
    if (!call) throw commonError('INTERNAL', `there is no call ${name}`);
    say({ type: 'answer', id, value: await call(argument, controller.signal) });
  } catch (thrown) {
    const { code, exit, message, hint, details } = asAppError(thrown);
    say({ type: 'failure', id, error: clean({ code, exit, message, hint, details }) });
  } finally {
    calls.delete(id);
  }
}

/** Plain values with every known secret blanked out. */
function clean<T>(value: T): T {
  // It was JSON of this very type before.
  return JSON.parse(redact(JSON.stringify(value))) as T;
}

function threadOutput(): Output {
  let label = '';
  let told = 0;
  return {
    terminal: false,
    json: false,
    event: (level: Level, message: string, fields: Fields = {}) =>
      say(clean({ type: 'event', level, message, fields })),
    progress(progress: Progress) {
      const now = performance.now();
      if (progress.label === label && now - told < progressMs) return;
      label = progress.label;
      told = now;
      say({ type: 'progress', progress });
    },
    finish: () => {},
  };
}
