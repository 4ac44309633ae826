import { createHash } from 'node:crypto';
import { commonError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { Cron } from 'croner';
import type { ServiceSettings } from '../settings-service.ts';
import type { ConfigFile, RunQueue, ScheduleState, Schedules, StateDatabase, Targets } from './contracts.ts';
import type { Leadership } from './leadership.ts';
import { asAppError } from './run-error.ts';
import { isoTime, targetText } from './run-rows.ts';
import type { RunTarget, RunTask } from './run-types.ts';
import { tablesByTask } from './targets.ts';

/** When a task is due. */
export interface Schedule {
  readonly task: RunTask;
  readonly cron: string;
  readonly timeZone: string;
  /** First time after `from`; null: never. */
  next(from: Date): Date | null;
  /** Last time after `from` and not after `until`; null: there is none. */
  last(from: Date, until: Date): Date | null;
}

/** How many times between two looks are gone through to find the last; more than a day of minutes. */
const stepsMax = 2_000;

/**
 * Reads the schedules of the settings; `off` leaves one out. Times that a change to summer time leaves out are moved behind the gap, and those that
 * occur twice are met once, while patterns of every hour or minute go on by real time.
 * @throws AppError SETTING_INVALID for a pattern or zone that cannot be read
 */
export function readSchedules(settings: ServiceSettings): readonly Schedule[] {
  const { scheduleTimeZone: timeZone } = settings;
  const given = [
    ['load', 'CRON_SCHEDULE', settings.loadCron],
    ['archive', 'ARCHIVAL_JOB_CRON', settings.archiveCron],
    ['purge', 'PURGE_JOB_CRON', settings.purgeCron],
    ['verify', 'VERIFY_JOB_CRON', settings.verifyCron],
  ] as const;
  if (!isTimeZone(timeZone))
    throw commonError(
      'SETTING_INVALID',
      `SCHEDULE_TIME_ZONE was given ${JSON.stringify(timeZone)}; it takes a time zone such as Europe/Berlin`,
    );
  return given.flatMap(([task, name, cron]) => (cron === 'off' ? [] : [schedule(task, name, cron, timeZone)]));
}

function schedule(task: RunTask, name: string, cron: string, timeZone: string): Schedule {
  const parsed = parseCron(name, cron, timeZone);
  const next = (from: Date) => parsed.nextRun(from);
  return {
    task,
    cron,
    timeZone,
    next,
    last(from, until) {
      let found: Date | null = null;
      let at = next(from);
      for (let step = 0; at !== null && at <= until && step < stepsMax; step++) {
        found = at;
        at = next(at);
      }
      return found;
    },
  };
}

function parseCron(name: string, pattern: string, timezone: string): Cron {
  try {
    // Five fields alone: seconds and years are no part of what cron takes elsewhere.
    return new Cron(pattern, { timezone, paused: true, mode: '5-part' });
  } catch (cause) {
    throw commonError(
      'SETTING_INVALID',
      `${name} was given ${JSON.stringify(pattern)}; it takes five cron fields such as "0 2 * * *", or off`,
      { cause },
    );
  }
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }) !== null;
  } catch {
    return false;
  }
}

export interface SchedulerParts {
  readonly schedules: readonly Schedule[];
  readonly database: StateDatabase;
  readonly configFile: ConfigFile;
  readonly targets: Targets;
  readonly queue: Pick<RunQueue, 'enqueue'>;
  readonly leadership: Leadership;
  readonly jitterSeconds: number;
  readonly missedRunSeconds: number;
  readonly now: () => number;
  readonly output: Output;
}

const lookMs = 1_000;
/** What was seen to is written down this often even where nothing was due. */
const noteMs = 60_000;
const scheduler = { name: 'schedule', roles: new Set<never>() };

interface Entry {
  readonly schedule: Schedule;
  readonly target: RunTarget;
  /** Due times until here have been seen to. */
  checkedMs: number;
  notedMs: number;
  /** Nothing is due before. */
  quietUntilMs: number;
  /** That the queue is full was told of this due time. */
  delayedMs: number;
}

/**
 * Puts scheduled runs into the queue, on the leader alone. What was seen to stands in the ledger, so that what was due while nobody was there is made
 * up for, once and not too late; a run's idempotency key is its time, so that it never comes twice.
 */
export class Scheduler implements Schedules, Disposable {
  readonly #parts: SchedulerParts;
  readonly #entries = new Map<string, Entry>();
  #timer: NodeJS.Timeout | null = null;
  #looking = false;
  #failed = false;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.look(), lookMs);
    this.#parts.leadership.onChange(() => this.#entries.clear());
  }

  [Symbol.dispose](): void {
    if (this.#timer) clearInterval(this.#timer);
  }

  list(): readonly ScheduleState[] {
    const { schedules, configFile, now } = this.#parts;
    const tables = tablesByTask(configFile.current);
    return schedules.map((each) => {
      const due = tables[each.task].length === 0 ? null : each.next(new Date(now()));
      const { task, cron, timeZone } = each;
      const at = due && new Date(due.getTime() + this.#jitterMs(task, { kind: 'file' }, due));
      return { task, cron, timeZone, nextAt: at?.toISOString() ?? null };
    });
  }

  /** Puts what is due into the queue. Never throws. */
  async look(): Promise<void> {
    const { leadership, output } = this.#parts;
    if (this.#looking || !leadership.leader) return;
    this.#looking = true;
    try {
      for (const entry of await this.#currentEntries()) await this.#see(entry);
      this.#failed = false;
    } catch (error) {
      const { code, message } = asAppError(error);
      if (!this.#failed) output.event('error', 'scheduled runs cannot be queued', { code, error: message });
      this.#failed = true;
    } finally {
      this.#looking = false;
    }
  }

  async #currentEntries(): Promise<readonly Entry[]> {
    const { schedules, targets, configFile } = this.#parts;
    const inFile = tablesByTask(configFile.current);
    const found: Entry[] = [];
    for (const target of await targets.all()) {
      for (const each of schedules) {
        // Records archive, purge and verify; what they have not, the queue would refuse.
        if (target.kind === 'file' ? inFile[each.task].length === 0 : each.task === 'load') continue;
        const key = `${each.task} ${targetText(target)}`;
        const entry = this.#entries.get(key) ?? (await this.#open(each, target));
        this.#entries.set(key, entry);
        found.push(entry);
      }
    }
    return found;
  }

  /** A schedule begins now when it is new or has changed, else where it was left. */
  async #open(schedule: Schedule, target: RunTarget): Promise<Entry> {
    const { database, now, missedRunSeconds } = this.#parts;
    const row = await database.use((connection) =>
      connection.row('SELECT cron, checked_at FROM tableset_service_schedules WHERE task = ? AND target = ?', [
        schedule.task,
        targetText(target),
      ]),
    );
    const same = row?.['cron'] === patternOf(schedule);
    const left = same ? Date.parse(isoTime(String(row['checked_at'])) ?? '') : now();
    const checkedMs = Math.min(now(), Math.max(left, now() - missedRunSeconds * 1000));
    const entry = { schedule, target, checkedMs, notedMs: 0, quietUntilMs: 0, delayedMs: 0 };
    if (!same) await this.#note(entry);
    return entry;
  }

  async #see(entry: Entry): Promise<void> {
    const { now, output } = this.#parts;
    const { schedule, target } = entry;
    const nowMs = now();
    if (nowMs < entry.quietUntilMs && nowMs - entry.notedMs < noteMs) return;
    const due = schedule.last(new Date(entry.checkedMs), new Date(nowMs));
    if (due === null) {
      entry.quietUntilMs = schedule.next(new Date(nowMs))?.getTime() ?? Number.POSITIVE_INFINITY;
      if (nowMs - entry.notedMs < noteMs) return;
      // Whatever was due earlier is behind us; a clock that was set back does not take this back.
      entry.checkedMs = Math.max(entry.checkedMs, nowMs);
      return await this.#note(entry);
    }
    if (nowMs < due.getTime() + this.#jitterMs(schedule.task, target, due)) return;
    if (await this.#waiting(entry)) {
      output.event('warn', 'a scheduled run is left out: the one before it still waits', {
        task: schedule.task,
        due: due.toISOString(),
      });
    } else if (!(await this.#enqueue(entry, due))) return;
    entry.checkedMs = due.getTime();
    await this.#note(entry);
  }

  /** @returns false if it is to be tried again at the next look */
  async #enqueue(entry: Entry, due: Date): Promise<boolean> {
    const { queue, output } = this.#parts;
    const { schedule, target } = entry;
    const { task } = schedule;
    const at = due.toISOString();
    const idempotencyKey = `${task}:${targetText(target)}:${at}`;
    const options = task === 'verify' ? { drill: true } : {};
    const result = await queue.enqueue({
      task,
      target,
      tables: null,
      options,
      trigger: 'schedule',
      by: scheduler,
      idempotencyKey,
    });
    if (result.outcome === 'full' && entry.delayedMs !== due.getTime()) {
      entry.delayedMs = due.getTime();
      output.event('warn', 'a scheduled run waits: the queue is full', { task, target: targetText(target), due: at });
    }
    return result.outcome !== 'full' && result.outcome !== 'closed';
  }

  async #waiting({ schedule: { task }, target }: Entry): Promise<boolean> {
    const row = await this.#parts.database.use((connection) =>
      connection.row(
        "SELECT id FROM tableset_service_runs WHERE state = 'queued' AND `trigger` = 'schedule' AND task = ? AND target = ? LIMIT 1",
        [task, targetText(target)],
      ),
    );
    return row !== null;
  }

  async #note(entry: Entry): Promise<void> {
    const { schedule, target, checkedMs } = entry;
    const at = new Date(checkedMs).toISOString().slice(0, 23).replace('T', ' ');
    const pattern = patternOf(schedule);
    await this.#parts.database.use((connection) =>
      connection.run(
        'INSERT INTO tableset_service_schedules (task, target, cron, checked_at) VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE cron = ?, checked_at = ?',
        [schedule.task, targetText(target), pattern, at, pattern, at],
      ),
    );
    entry.notedMs = this.#parts.now();
  }

  /** The same on every replica and after every restart. */
  #jitterMs(task: RunTask, target: RunTarget, due: Date): number {
    const { jitterSeconds, database } = this.#parts;
    if (jitterSeconds === 0) return 0;
    const text = `${database.key} ${task} ${targetText(target)} ${due.toISOString()}`;
    const share = createHash('sha256').update(text).digest().readUInt32BE() / 2 ** 32;
    return Math.floor(share * jitterSeconds * 1000);
  }
}

function patternOf({ cron, timeZone }: Schedule): string {
  return `${cron} ${timeZone}`.slice(0, 255);
}
