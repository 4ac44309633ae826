import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { StatusDocument } from '../../../src/service/http/status.ts';
import { pageDocument, pagePolicy, pageSections } from '../../../src/service/page/document.ts';
import { duration, grouped, relative } from '../../../src/service/page/format.ts';
import { html } from '../../../src/service/page/html.ts';
import type { PageFacts } from '../../../src/service/page/sections.ts';

const nowMs = Date.parse('2026-03-29T12:00:00.000Z');
const closed = { apiOn: true, triggerOpen: false };

function run(
  id: string,
  state: string,
  more: Partial<StatusDocument['recent'][number]> = {},
): StatusDocument['recent'][number] {
  return {
    id,
    task: 'load',
    tables: null,
    trigger: 'schedule',
    state,
    attempt: 1,
    createdAt: '2026-03-29T11:00:00.000Z',
    startedAt: '2026-03-29T11:00:01.000Z',
    finishedAt: state === 'running' || state === 'queued' ? null : '2026-03-29T11:00:05.000Z',
    seconds: state === 'running' || state === 'queued' ? null : 4,
    code: state === 'failed' ? 'SOURCE_UNREACHABLE' : null,
    remedy: state === 'failed' ? 'Look at the source.' : null,
    progress: null,
    ...more,
  };
}

function facts(more: Partial<StatusDocument> = {}, loadTables: readonly string[] = []): PageFacts {
  const task = { cron: null, timeZone: null, nextAt: null, last: null, lastSuccessAt: null, failuresSinceSuccess: 0 };
  return {
    status: {
      version: '1.2.3',
      replica: 'pod-1',
      startedAt: '2026-03-29T10:00:00.000Z',
      uptimeSeconds: 7200,
      leader: { self: true, holder: 'pod-1' },
      ready: true,
      reasons: [],
      config: { path: 'config.yaml', loadedAt: '2026-03-29T10:00:00.000Z', hash: 'abc', problem: null },
      database: { reachable: true, code: null },
      queue: { waiting: 0, size: 128 },
      runs: { done: 1 },
      tasks: [{ task: 'load', ...task }],
      running: [],
      recent: [],
      lastErrors: [],
      tables: [],
      webhooks: null,
      lastVerifiedRestoreAt: null,
      ...more,
    },
    loadTables,
    nowMs,
  };
}

test('whatever a name holds, it is text on the page', () => {
  const evil = `<img src=x onerror=alert(1)>"'&`;
  const failed = run('7', 'failed', { tables: [evil], code: evil, remedy: evil });
  const problem = { at: '2026-03-29T10:00:00.000Z', code: evil, message: evil };
  const progress = { label: evil, done: 1, total: 2, unit: evil, at: '' };
  const running = run('8', 'running', { progress, tables: [evil] });
  const given = facts(
    {
      replica: evil,
      version: evil,
      reasons: [evil],
      recent: [running, failed],
      running: [running],
      config: { path: evil, loadedAt: '2026-03-29T10:00:00.000Z', hash: evil, problem },
      leader: { self: false, holder: evil },
      tables: [{ table: evil, loadedAt: null, ageSeconds: 5, rows: 1 }],
    },
    [evil],
  );
  const page = pageDocument(given, closed);
  expect(page).toContain('&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;');
  expect(page).not.toContain('<img');
  expect(page).not.toContain(`${evil.slice(-3)}`);
});

test('the policy allows exactly the script and the style that the page has, and nothing from elsewhere', () => {
  const page = pageDocument(facts(), closed);
  for (const [element, directive] of [
    ['script', 'script-src'],
    ['style', 'style-src'],
  ] as const) {
    const parts = [...page.matchAll(new RegExp(`<${element}>(.*?)</${element}>`, 'gs'))];
    expect(parts).toHaveLength(1);
    const hash = createHash('sha256')
      .update(parts[0]?.[1] ?? '')
      .digest('base64');
    expect(pagePolicy).toContain(`${directive} 'sha256-${hash}'`);
  }
  expect(page).not.toMatch(/ style="| on[a-z]+="/);
  expect(pagePolicy).toContain("default-src 'none'");
});

test('each state of a run has a shape and a word of its own, not a colour alone', () => {
  const states = ['done', 'failed', 'cancelled', 'running'];
  const page = pageSections(facts({ recent: states.map((state, index) => run(String(9 - index), state)) }));
  for (const state of states)
    expect(page).toMatch(new RegExp(`class="state ${state}"><span aria-hidden="true">.</span> ${state}<`));
  expect(page).toContain('aria-label="4 runs: 1 done, 1 failed, 1 cancelled, 1 running. The longest took 59 min.');
  expect(page.match(/class="cross"/g)).toHaveLength(1);
});

test('tables of the configuration that were never loaded are there too, with when they will be', () => {
  const task = {
    task: 'load',
    cron: '0 * * * *',
    timeZone: 'UTC',
    nextAt: '2026-03-29T13:00:00.000Z',
    last: null,
    lastSuccessAt: null,
    failuresSinceSuccess: 2,
  } as const;
  const tables = [{ table: 'old', loadedAt: '2026-03-28T12:00:00.000Z', ageSeconds: 3600, rows: 1234567 }];
  const page = pageSections(facts({ tables, tasks: [task] }, ['young']));
  expect(page).toContain('<strong>young</strong>');
  expect(page).toContain('1,234,567');
  expect(page).toContain('not in the configuration');
  expect(page).toContain('in 1 h');
  expect(page).toContain('2 failures');
});

test('where the database is away, the page says so instead of failing', () => {
  const away = {
    ready: false,
    reasons: ['the database cannot be reached'],
    runs: null,
    queue: { waiting: null, size: 128 },
    database: { reachable: false, code: 'DATABASE_UNREACHABLE' },
  };
  const page = pageDocument(facts(away), closed);
  expect(page).toContain('the database cannot be reached');
  expect(page).toContain('DATABASE_UNREACHABLE');
  expect(page).toContain('<title>not ready');
});

test('nobody is asked to sign in where there is nothing to sign in to', () => {
  expect(pageDocument(facts(), closed)).toContain('for="client-id"');
  const token = pageDocument(facts(), { apiOn: false, triggerOpen: false });
  expect(token).toContain('Trigger token');
  expect(token).not.toContain('client-id"');
  expect(pageDocument(facts(), { apiOn: false, triggerOpen: true })).toMatch(/id="sign-in-open"[^>]* hidden/);
});

describe('figures', () => {
  test.each([
    [0.04, '0.0 s'],
    [4, '4 s'],
    [9.94, '9.9 s'],
    [9.96, '10 s'],
    [59.4, '59 s'],
    [59.6, '1 min'],
    [3599, '59 min'],
    [3600, '1 h'],
    [5400, '1 h 30 min'],
    [86_399, '23 h 59 min'],
    [90_000, '1 d 1 h'],
  ])('%d s are %s', (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });

  test('times say how far off they are', () => {
    const at = (seconds: number) => relative(new Date(nowMs + seconds * 1000).toISOString(), nowMs);
    expect([at(-5), at(5), at(-61), at(7260), at(-172_800)]).toEqual([
      'just now',
      'within a minute',
      '1 min ago',
      'in 2 h 1 min',
      '2 d ago',
    ]);
  });

  test('thousands are set apart', () => {
    expect([0, 999, 1000, 1234567].map(grouped)).toEqual(['0', '999', '1,000', '1,234,567']);
  });

  test('HTML within HTML stays, lists are joined, null is nothing', () => {
    expect(html`<p>${[html`<b>${'<'}</b>`, null, 1]}</p>`.text).toBe('<p><b>&lt;</b>1</p>');
  });
});
