import type { StatusDocument } from '../http/status.ts';
import { counted, duration } from './format.ts';
import { type Html, html } from './html.ts';

type Run = StatusDocument['recent'][number];

const slots = 60;
const slotWidth = 10;
const barWidth = 7;
const height = 72;
const barMax = 56;
const barMin = 4;

/** The last runs as bars, oldest first: as high as they took long (by the square root), with a shape of its own for each way to end. */
export function runChart(recent: readonly Run[], nowMs: number): Html {
  const runs = recent
    .filter(({ state }) => state !== 'queued')
    .slice(0, slots)
    .toReversed();
  if (runs.length === 0) return html`<p class="none">Nothing has run yet.</p>`;
  const seconds = runs.map((run) => secondsOf(run, nowMs));
  const most = Math.max(...seconds, 1);
  const first = slots - runs.length;
  const bars = runs.map((run, index) => bar(run, seconds[index] ?? 0, most, (first + index) * slotWidth));
  const label = `${counted(runs.length, 'run')}: ${summary(runs)}. The longest took ${duration(Math.max(...seconds))}.`;
  return html`<figure><svg class="chart" viewBox="0 0 ${slots * slotWidth} ${height}" role="img" aria-label="${label}"><line class="axis" x1="0" x2="${slots * slotWidth}" y1="${height - 0.5}" y2="${height - 0.5}"/>${bars}</svg><figcaption><span>older</span><span>${label}</span><span>now</span></figcaption></figure>`;
}

function bar(run: Run, seconds: number, most: number, x: number): Html {
  const tall = Math.max(barMin, Math.round(Math.sqrt(seconds / most) * barMax));
  const y = height - 1 - tall;
  const took = run.state === 'running' ? `running for ${duration(seconds)}` : `${run.state} after ${duration(seconds)}`;
  const middle = x + barWidth / 2;
  // Seen without colour as well: a cross on what failed, an outline of what was cancelled or has not ended.
  const cross = run.state === 'failed' ? html`<path class="cross" d="M${middle - 3} ${y - 8}l6 6m0 -6l-6 6"/>` : null;
  return html`<g class="bar ${run.state}"><title>Run ${run.id}, ${run.task}: ${took}${run.code === null ? '' : `, ${run.code}`}</title><rect x="${x + 0.5}" y="${y}" width="${barWidth - 1}" height="${tall}"/>${cross}</g>`;
}

function summary(runs: readonly Run[]): string {
  const parts = ['done', 'failed', 'cancelled', 'running'].flatMap((state) => {
    const count = runs.filter((run) => run.state === state).length;
    return count === 0 ? [] : [`${count} ${state}`];
  });
  return parts.join(', ');
}

function secondsOf({ seconds, startedAt }: Run, nowMs: number): number {
  if (seconds !== null) return seconds;
  return startedAt === null ? 0 : Math.max(0, (nowMs - Date.parse(startedAt)) / 1000);
}
