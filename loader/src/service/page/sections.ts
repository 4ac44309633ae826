import type { StatusDocument } from '../http/status.ts';
import { runChart } from './chart.ts';
import { counted, duration, grouped, time } from './format.ts';
import { type Html, html } from './html.ts';

/** What the page shows, beside the status: tables of the configuration that were never loaded are not in that. */
export interface PageFacts {
  readonly status: StatusDocument;
  /** Tables that loads can be asked for. */
  readonly loadTables: readonly string[];
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

type Run = StatusDocument['recent'][number];

const glyphs: Readonly<Record<string, string>> = {
  done: '✓',
  failed: '✕',
  running: '▶',
  queued: '…',
  cancelled: '–',
};

const shownRuns = 20;
const shownFailures = 5;

/** Everything that changes while one looks; the script puts in anew what differs. */
export function sections(facts: PageFacts): Html {
  return html`${alerts(facts)}${now(facts)}${tasks(facts)}${failures(facts)}${tables(facts)}${history(facts)}`;
}

function alerts({ status, nowMs }: PageFacts): Html {
  const { reasons, config, database } = status;
  const items = [
    ...reasons.map(
      (reason) =>
        html`<li><strong>Not ready:</strong> ${reason}${database.code === null ? '' : ` (${database.code})`}.</li>`,
    ),
    ...(config.problem === null
      ? []
      : [
          html`<li><strong>The configuration file has changed and is not taken</strong> (${config.problem.code}): ${config.problem.message} The one of ${time(config.loadedAt, nowMs)} stays in force.</li>`,
        ]),
  ];
  return html`<section id="alerts" aria-label="Problems">${items.length === 0 ? null : html`<ul class="alerts">${items}</ul>`}</section>`;
}

function now({ status, nowMs }: PageFacts): Html {
  const { running, queue, recent } = status;
  const waiting = recent.filter(({ state }) => state === 'queued');
  const queued =
    queue.waiting === null
      ? 'The queue cannot be read.'
      : queue.waiting === 0
        ? 'Nothing waits.'
        : `${counted(queue.waiting, 'run')} of at most ${grouped(queue.size)} ${queue.waiting === 1 ? 'waits' : 'wait'}.`;
  const items = [...running, ...waiting.slice(0, 5)].map((run) => nowItem(run, nowMs));
  return html`<section id="now" aria-labelledby="now-title"><h2 id="now-title">Now</h2>${items.length === 0 ? html`<p class="none">Nothing runs. ${queued}</p>` : html`<ul class="now">${items}</ul><p class="small">${queued}</p>`}</section>`;
}

function nowItem(run: Run, nowMs: number): Html {
  const { progress } = run;
  const since = run.startedAt === null ? null : html` since ${time(run.startedAt, nowMs)}`;
  const id = `now-${run.id}`;
  return html`<li data-run="${run.id}" data-state="${run.state}" data-task="${run.task}"><div class="line"><span id="${id}">${state(run.state)} <strong>${run.task}</strong> <span class="muted">run ${run.id}${run.attempt > 1 ? `, try ${run.attempt}` : ''}, ${tablesOf(run)}${run.state === 'running' ? since : null}</span></span>${button('cancel', run, 'Cancel', 'now-')}</div>${
    run.state !== 'running'
      ? null
      : progress === null
        ? html`<progress aria-labelledby="${id}"></progress>`
        : progressOf(progress, id)
  }</li>`;
}

function progressOf({ label, done, total, unit }: NonNullable<Run['progress']>, labelledBy: string): Html {
  const bar =
    total === null || total <= 0
      ? html`<progress aria-labelledby="${labelledBy}"></progress>`
      : html`<progress aria-labelledby="${labelledBy}" max="${total}" value="${Math.min(done, total)}"></progress>`;
  const share =
    total === null || total <= 0
      ? ''
      : ` of ${grouped(total)} (${Math.floor((Math.min(done, total) / total) * 100)} %)`;
  return html`${bar}<p class="small">${label}: ${grouped(done)}${share} ${unit}</p>`;
}

function tasks({ status, nowMs }: PageFacts): Html {
  const rows = status.tasks.map(
    ({ task, cron, timeZone, nextAt, last, lastSuccessAt, failuresSinceSuccess: failed }) => {
      // A restore takes what is to come back, which is more than a button says.
      const start =
        task === 'restore'
          ? null
          : html`<button type="button" class="may-trigger" id="start-${task}" data-action="start" data-task="${task}">Start<span class="hidden"> ${task}</span></button>`;
      const schedule =
        cron === null || cron === 'off' ? html`<span class="none">none</span>` : html`<code>${cron}</code> ${timeZone}`;
      const ended =
        last === null
          ? html`<span class="none">never</span>`
          : html`${state(last.state)} ${time(last.finishedAt, nowMs)}`;
      const since =
        failed === 0
          ? null
          : html`<br><span class="bad">${counted(failed, 'failure')}</span> since success ${time(lastSuccessAt, nowMs)}`;
      return row([
        ['Task', html`<strong>${task}</strong>`],
        ['Next run', time(nextAt, nowMs, 'not scheduled')],
        ['Schedule', schedule],
        ['Last run', html`${ended}${since}`],
        ['', start],
      ]);
    },
  );
  return html`<section id="tasks" aria-labelledby="tasks-title"><h2 id="tasks-title">Tasks</h2>${table('tasks-title', ['Task', 'Next run', 'Schedule', 'Last run', ''], rows, 'tasks')}<p class="small">Last verified restore: ${time(status.lastVerifiedRestoreAt, nowMs)}.${deadLetters(status)}</p></section>`;
}

/** Webhooks have no section of their own: most services have none. */
function deadLetters({ webhooks }: StatusDocument): string {
  const dead = webhooks?.dead ?? 0;
  return dead === 0 ? '' : ` Dead letters of webhooks: ${dead}, which can be replayed.`;
}

function failures({ status, nowMs }: PageFacts): Html {
  const { recent, runs } = status;
  const failed = recent.filter(({ state: each }) => each === 'failed').slice(0, shownFailures);
  const items = failed.map(
    (run) =>
      html`<li><div class="line"><span>${state('failed')} <strong>${run.task}</strong> <span class="muted">run ${run.id}, ${tablesOf(run)}, ${time(run.finishedAt, nowMs)}</span></span><span class="buttons">${button('details', run, 'Details', 'failure-')}${button('retry', run, 'Retry', 'failure-')}</span></div><p><code>${run.code ?? 'unknown'}</code> ${run.remedy ?? ''}</p></li>`,
  );
  const all = runs?.['failed'] ?? 0;
  const more = all > failed.length ? html`<p class="small">${counted(all, 'failed run')} altogether.</p>` : null;
  return html`<section id="failures" aria-labelledby="failures-title"><h2 id="failures-title">Failures</h2>${failed.length === 0 ? html`<p class="none">${recent.length > 1 ? `None of the last ${recent.length} runs has failed.` : 'None.'}</p>` : html`<ul class="failures">${items}</ul>${more}`}</section>`;
}

function tables({ status, loadTables, nowMs }: PageFacts): Html {
  const known = new Map(status.tables.map((each) => [each.table, each]));
  const nextLoad = status.tasks.find(({ task }) => task === 'load')?.nextAt ?? null;
  const names = [...new Set([...known.keys(), ...loadTables])].sort();
  if (names.length === 0) return html`<section id="tables" aria-label="Tables"></section>`;
  const configured = new Set(loadTables);
  const rows = names.map((name, index) => {
    const each = known.get(name);
    const checkedAt = each?.ageSeconds == null ? null : new Date(nowMs - each.ageSeconds * 1000).toISOString();
    const start = configured.has(name)
      ? html`<button type="button" class="may-trigger" id="load-${index}" data-action="start" data-task="load" data-table="${name}">Load<span class="hidden"> ${name}</span></button>`
      : null;
    return row([
      ['Table', html`<strong>${name}</strong>`],
      ['Checked', time(checkedAt, nowMs)],
      ['Loaded', time(each?.loadedAt ?? null, nowMs)],
      ['Rows', each?.rows == null ? html`<span class="none">unknown</span>` : grouped(each.rows), 'number'],
      [
        'Next load',
        configured.has(name)
          ? time(nextLoad, nowMs, 'not scheduled')
          : html`<span class="none">not in the configuration</span>`,
      ],
      ['', start],
    ]);
  });
  return html`<section id="tables" aria-labelledby="tables-title"><h2 id="tables-title">Tables</h2>${table('tables-title', ['Table', 'Checked', 'Loaded', 'Rows', 'Next load', ''], rows)}</section>`;
}

function history({ status, nowMs }: PageFacts): Html {
  const { recent } = status;
  const rows = recent.slice(0, shownRuns).map((run) =>
    row(
      [
        ['Run', html`${run.id}`],
        ['Task', html`<strong>${run.task}</strong> <span class="muted">${tablesOf(run)}</span>`],
        [
          'State',
          html`${state(run.state)}${run.code === null || run.state === 'done' ? null : html` <code>${run.code}</code>`}`,
        ],
        ['Asked for', html`${time(run.createdAt, nowMs)} <span class="muted">by ${run.trigger}</span>`],
        ['Took', run.seconds === null ? html`<span class="none">–</span>` : duration(run.seconds), 'number'],
        [
          '',
          html`${button('details', run, 'Details', 'run-')}${run.state === 'queued' || run.state === 'running' ? button('cancel', run, 'Cancel', 'run-') : null}${run.state === 'failed' || run.state === 'cancelled' ? button('retry', run, 'Retry', 'run-') : null}`,
        ],
      ],
      html` data-run="${run.id}" data-state="${run.state}" data-task="${run.task}"`,
    ),
  );
  return html`<section id="history" aria-labelledby="history-title"><h2 id="history-title">Last runs</h2>${runChart(recent, nowMs)}${rows.length === 0 ? null : table('history-title', ['Run', 'Task', 'State', 'Asked for', 'Took', ''], rows, 'runs')}</section>`;
}

type Cell = readonly [label: string, content: Html | string | null, kind?: 'number'];

/** The roles stand there because a narrow screen shows rows as blocks, which some browsers then no longer take for a table. */
function table(titleId: string, heads: readonly string[], rows: readonly Html[], kind = ''): Html {
  const cells = heads.map((head) =>
    head === ''
      ? html`<th scope="col" role="columnheader"><span class="hidden">Actions</span></th>`
      : html`<th scope="col" role="columnheader">${head}</th>`,
  );
  return html`<table role="table" class="${kind}" aria-labelledby="${titleId}"><thead role="rowgroup"><tr role="row">${cells}</tr></thead><tbody role="rowgroup">${rows}</tbody></table>`;
}

function row(cells: readonly Cell[], attributes: Html | null = null): Html {
  const parts = cells.map(([label, content, kind]) =>
    label === ''
      ? html`<td role="cell" class="actions">${content}</td>`
      : html`<td role="cell" data-label="${label}"${kind ? html` class="number"` : null}><div>${content}</div></td>`,
  );
  return html`<tr role="row"${attributes}>${parts}</tr>`;
}

function state(name: string): Html {
  return html`<span class="state ${name}"><span aria-hidden="true">${glyphs[name] ?? '?'}</span> ${name}</span>`;
}

/** Shown to those who may, once they have signed in. The same run may stand in several places, which ids tell apart. */
function button(action: 'cancel' | 'retry' | 'details', run: Run, label: string, place: string): Html {
  const role = action === 'details' ? 'may-view' : 'may-operate';
  return html`<button type="button" class="${role}" id="${place}${action}-${run.id}" data-action="${action}" data-of="${run.id}">${label}<span class="hidden"> run ${run.id}</span></button>`;
}

function tablesOf({ tables: names }: Run): string {
  if (names === null) return 'all tables';
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
}

/** One line that a title can hold. */
export function headline({ status }: PageFacts): string {
  if (!status.ready) return 'not ready';
  if (status.running.length > 0) return `${status.running.length} running`;
  return status.tasks.some(({ failuresSinceSuccess }) => failuresSinceSuccess > 0) ? 'failing' : 'ready';
}
