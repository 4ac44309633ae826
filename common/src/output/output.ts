import { accessSync, constants, writeFileSync } from 'node:fs';
import { type Logger, pino } from 'pino';
import { redact } from './redact.ts';
import { thousands } from './table.ts';
import { writeAll } from './write.ts';

export type Level = 'debug' | 'info' | 'warn' | 'error';
export type Fields = Readonly<Record<string, unknown>>;

/** How far a long step is; rate and remaining time are worked out from successive calls. */
export interface Progress {
  /** What is being done, such as `load products`. */
  readonly label: string;
  readonly done: number;
  /** Null when the end is not known. */
  readonly total: number | null;
  /** rows, bytes, statements. */
  readonly unit: string;
}

/** Where a program's words go. Log messages are constant; what varies is in the fields. */
export interface Output {
  readonly terminal: boolean;
  /** The summary goes to stdout as one JSON document. */
  readonly json: boolean;
  event(level: Level, message: string, fields?: Fields): void;
  progress(progress: Progress): void;
  /** Prints the end of a run: the summary as JSON where machines read, the lines where people do. */
  finish(summary: Fields, lines: readonly string[], failed: boolean): void;
}

export interface OutputOptions {
  readonly program: string;
  readonly level: Level;
  /** `--json`: the summary alone on stdout, logs on stderr. */
  readonly json: boolean;
  /** The verb reports rather than runs: its lines are its product and go to stdout also where no terminal is. */
  readonly report: boolean;
  readonly terminal: boolean;
}

/** Makes the output for one program run. */
export function createOutput(options: OutputOptions): Output {
  const logger = createLogger(options);
  const bar = progressBar(options);
  const human = options.terminal && !options.json;
  return {
    terminal: human,
    json: options.json,
    event(level, message, fields = {}) {
      bar.clear();
      if (!human) logger[level](fields, message);
      else if (levels[level] >= levels[options.level])
        writeAll(2, redact(`${marks[level]} ${message}${humanFields(fields)}\n`));
    },
    progress: bar.show,
    finish(summary, lines, failed) {
      bar.clear();
      writeTerminationLog(summary);
      if (options.json) writeAll(1, `${redact(JSON.stringify(summary))}\n`);
      else if (human || options.report) writeAll(failed ? 2 : 1, redact(lines.map((line) => `${line}\n`).join('')));
      else logger[failed ? 'error' : 'info'](summary, 'summary');
    },
  };
}

const levels: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
const marks: Readonly<Record<Level, string>> = { debug: '  ', info: '· ', warn: '! ', error: '✗ ' };

function humanFields(fields: Fields): string {
  const parts = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return parts.length === 0 ? '' : `  ${parts.join(' ')}`;
}

function createLogger(options: OutputOptions): Logger {
  const fd = options.json || options.report ? 2 : 1;
  return pino(
    {
      level: options.level,
      base: { program: options.program },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    // Synchronous, so that the last line before an exit is never lost.
    { write: (line: string) => writeAll(fd, redact(line)) },
  );
}

const terminationLog = '/dev/termination-log';
/** The kubelet keeps this much of it. */
const terminationLogBytesMax = 4096;

function writeTerminationLog(summary: Fields): void {
  try {
    // The kubelet makes the file; anywhere else it must not appear.
    accessSync(terminationLog, constants.W_OK);
    const whole = redact(JSON.stringify(summary));
    const { outcome, error, seconds } = summary;
    const text =
      Buffer.byteLength(whole) <= terminationLogBytesMax ? whole : redact(JSON.stringify({ outcome, error, seconds }));
    writeFileSync(terminationLog, Buffer.from(text).subarray(0, terminationLogBytesMax));
  } catch {
    // Not in a container, or not writable: the summary stands in the log and in the ledger all the same.
  }
}

const redrawMs = 100;

function progressBar(options: OutputOptions): { show: (progress: Progress) => void; clear: () => void } {
  if (!process.stderr.isTTY || options.json || !options.terminal) return { show: () => {}, clear: () => {} };
  let started = 0;
  let label = '';
  let drawn = 0;
  return {
    show(progress) {
      const now = performance.now();
      if (progress.label !== label) {
        label = progress.label;
        started = now;
      } else if (now - drawn < redrawMs) return;
      drawn = now;
      writeAll(2, `\r\x1b[K${progressLine(progress, (now - started) / 1000, process.stderr.columns ?? 80)}`);
    },
    clear() {
      if (drawn > 0) writeAll(2, '\r\x1b[K');
      drawn = 0;
    },
  };
}

/** One line of progress: bar and percentage where the end is known, count, rate per second, remaining time. */
export function progressLine(progress: Progress, elapsedSeconds: number, width: number): string {
  const { label, done, total, unit } = progress;
  const rate = elapsedSeconds > 0 ? done / elapsedSeconds : 0;
  const parts = [label];
  if (total !== null && total > 0) {
    const share = Math.min(1, done / total);
    const filled = Math.round(share * 20);
    parts.push(`${'█'.repeat(filled)}${'░'.repeat(20 - filled)} ${Math.floor(share * 100)} %`);
  }
  parts.push(`${thousands(done)} ${unit}`);
  if (rate > 0) parts.push(`${thousands(Math.round(rate))}/s`);
  if (rate > 0 && total !== null && total >= done) parts.push(`${Math.ceil((total - done) / rate)} s left`);
  return parts.join('  ').slice(0, Math.max(20, width - 1));
}
