import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../../../test/servers.ts';
import { serve } from '../../http-server.ts';
import { csv } from '../../run-loader.ts';
import { ApiFolder } from '../api/api-kit.ts';
import { runIn, until } from '../run-service.ts';
import { findChromium, openTab, type Tab } from './browser.ts';

const products = { table: 'products', source: 'products.csv' };
const prices = { table: 'prices', source: 'prices.csv' };

/** A shop with a history: sixty runs that took more or less long, some of which failed. */
async function scene(server: TestServer) {
  const schema = await server.createSchema();
  await schema.script(
    'CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL); CREATE TABLE prices (id INT PRIMARY KEY, cents INT NOT NULL); CREATE TABLE stock (id INT PRIMARY KEY)',
  );
  const { promise, resolve } = Promise.withResolvers<void>();
  const gate = await serve((_request, response) => {
    void promise.then(() => response.writeHead(200, { 'content-length': 7 }).end('id\n1\n2\n'));
  });
  const stock = { table: 'stock', source: `${gate.origin}/stock.csv` };
  const api = new ApiFolder(schema, { load: [products, prices, stock] });
  api.folder.write('products.csv', csv(['id', 'name'], [[1, 'apple']]));
  api.folder.write('prices.csv', csv(['id', 'cents'], [['one', 30]]));
  const { service } = await api.ready({ CRON_SCHEDULE: '0 */6 * * *', SCHEDULE_TIME_ZONE: 'Europe/Berlin' });
  return { schema, api, service, gate, open: resolve };
}

async function history(schema: TestSchema): Promise<void> {
  for (let index = 0; index < 55; index++) {
    const failed = index % 13 === 5;
    const seconds = 2 + ((index * 37) % 61) * ((index * 7) % 5);
    const error = failed
      ? JSON.stringify({ code: 'REJECTS_EXCEEDED', message: 'a row: canary', hint: 'Mend the <source>.', exit: 3 })
      : null;
    await schema.query(
      `INSERT INTO tableset_service_runs (task, target, database_key, options, \`trigger\`, requested_by, request_hash, state, attempt, attempts_max, token, created_at, not_before, started_at, finished_at, error)
       VALUES (?, 'file', 'h:1/s', '{}', 'schedule', 'schedule', '', ?, 1, 3, 1, @at := UTC_TIMESTAMP(6) - INTERVAL ? MINUTE, @at, @at, @at + INTERVAL ? SECOND, ?)`,
      [
        ['load', 'archive', 'purge'][index % 3],
        failed ? 'failed' : index % 17 === 3 ? 'cancelled' : 'done',
        (60 - index) * 90,
        seconds,
        error,
      ],
    );
  }
}

async function text(tab: Tab, selector: string): Promise<string> {
  return await tab.evaluate<string>(`document.querySelector(${JSON.stringify(selector)})?.textContent ?? ''`);
}

async function signIn(tab: Tab, id: string, secret: string): Promise<void> {
  await tab.tabTo('sign-in-open');
  await tab.press('Enter');
  await tab.tabTo('client-id');
  await tab.type(id);
  await tab.press('Tab');
  await tab.type(secret);
  await tab.press('Enter');
}

const program = findChromium();

describeEachServer('the page', (server) => {
  test('shows without its script what runs, what is next, how fresh tables are and what failed, and no message', async () => {
    const { schema, service } = await scene(server);
    await history(schema);
    const answer = await service.get('/?utm=elsewhere');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const policy = answer.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    const page = String(answer.body);
    for (const part of [
      'Europe/Berlin',
      '0 */6 * * *',
      'REJECTS_EXCEEDED',
      'Mend the &lt;source&gt;.',
      '<strong>stock</strong>',
      '<svg',
    ])
      expect(page).toContain(part);
    expect(page).not.toContain('canary');
    expect(page).not.toMatch(/(?:src|href)="(?:https?:)?\/\//);
  });

  test.skipIf(program === null)(
    'works by keyboard alone in a browser: sign in, start, cancel, retry, and says what happens',
    async () => {
      const { schema, api, service, gate, open } = await scene(server);
      await history(schema);
      const tab = await openTab(program ?? '');
      await tab.view(1200, 900, 'light');
      await tab.goTo(`${service.origin}/`);
      const hidden = "getComputedStyle(document.getElementById('start-load')).display === 'none'";
      expect(await tab.evaluate(hidden)).toBe(true);
      await signIn(tab, 'operator', 'a wrong secret');
      await tab.until(
        'it is refused',
        "document.getElementById('sign-in-problem').textContent.includes('no such client')",
      );
      await tab.screenshot('desktop-refused');
      await tab.type(api.secrets.operator);
      await tab.press('Enter');
      await tab.until('the buttons are there', `!(${hidden})`);
      expect(await tab.evaluate('JSON.stringify([localStorage.length, sessionStorage.length, document.cookie])')).toBe(
        '[0,0,""]',
      );
      // A load that waits for its source.
      await tab.tabTo('load-2');
      await tab.press('Enter');
      await tab.until('it is said', "/Run \\d+/.test(document.getElementById('announcer').textContent)");
      await until('it runs', async () => (await service.status()).running.length === 1);
      const [{ id = '' } = {}] = (await service.status()).running;
      await tab.until('it is shown', `document.querySelector('#now [data-run="${id}"][data-state="running"]')`);
      await tab.until('it is said', "document.getElementById('announcer').textContent.includes('running')");
      await tab.screenshot('desktop');
      await tab.view(1200, 900, 'dark');
      await tab.screenshot('desktop-dark');
      for (const scheme of ['light', 'dark'] as const) {
        await tab.view(390, 844, scheme);
        expect(await tab.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
        await tab.screenshot(`phone-${scheme}`);
      }
      await tab.view(1200, 900, 'light');
      await tab.tabTo(`now-cancel-${id}`);
      await tab.press('Enter');
      await tab.until('it is asked', "document.getElementById('confirm').open");
      await tab.screenshot('desktop-confirm');
      await tab.tabTo('confirm-yes');
      await tab.press('Enter');
      await runIn(schema, id, 'cancelled');
      open();
      await tab.until('it is shown', `document.querySelector('#history [data-run="${id}"][data-state="cancelled"]')`);
      await tab.tabTo(`run-retry-${id}`);
      await tab.press(' ');
      await until('it is done again', async () => {
        const rows = await schema.query('SELECT state FROM tableset_service_runs WHERE retry_of = ?', [id]);
        return rows[0]?.['state'] === 'done';
      });
      await tab.until('the table is fresh', "/just now/.test(document.getElementById('tables').textContent)");
      // What was put in anew under it has not taken the focus away.
      expect(await tab.evaluate('document.activeElement.id')).toBe(`run-retry-${id}`);
      await tab.tabTo(`run-details-${id}`);
      await tab.press('Enter');
      await tab.until('details are there', "document.getElementById('details').open");
      expect(await text(tab, '#details')).toContain('SERVICE_RUN_CANCELLED');
      await tab.screenshot('desktop-details');
      await tab.press('Escape');
      expect(tab.complaints.filter((each) => !each.includes('401'))).toEqual([]);
      expect(tab.requests.filter((url) => !url.startsWith(service.origin) && !url.startsWith('data:'))).toEqual([]);
      await gate[Symbol.asyncDispose]();
    },
  );

  test.skipIf(program === null)(
    'has landmarks, headings in order and a name for everything that can be used, and says when the service is gone',
    async () => {
      const { schema, api, service } = await scene(server);
      await history(schema);
      const tab = await openTab(program ?? '');
      await tab.view(1200, 900, 'light');
      await tab.goTo(`${service.origin}/`);
      await signIn(tab, 'admin', api.secrets.admin);
      await tab.until('the buttons are there', "document.documentElement.classList.contains('operator')");
      const { nodes } = await tab.send('Accessibility.getFullAXTree');
      const tree = (nodes as { ignored: boolean; role?: { value: string }; name?: { value: string } }[]).filter(
        ({ ignored }) => !ignored,
      );
      const roles = new Set(tree.map(({ role }) => role?.value));
      for (const role of ['banner', 'main', 'contentinfo', 'region', 'table', 'row', 'cell', 'columnheader', 'status'])
        expect(roles).toContain(role);
      const nameless = tree.filter(
        ({ role, name }) =>
          ['button', 'link', 'textbox', 'checkbox', 'region', 'table', 'image', 'progressbar'].includes(
            role?.value ?? '',
          ) && !name?.value,
      );
      expect(nameless).toEqual([]);
      const headings = await tab.evaluate<string[]>(
        "[...document.querySelectorAll('h1,h2')].map((each) => each.localName)",
      );
      expect(headings.filter((each) => each === 'h1')).toHaveLength(1);
      const buttons = await tab.evaluate<string[]>(
        "[...document.querySelectorAll('button')].map((each) => each.id).filter(Boolean)",
      );
      expect(new Set(buttons).size).toBe(buttons.length);
      for (const scheme of ['light', 'dark'] as const) {
        await tab.view(1200, 900, scheme);
        expect(await tab.evaluate<string[]>(faint)).toEqual([]);
      }
      service.kill();
      await tab.until('it is said', "document.getElementById('stale').textContent.includes('does not answer')");
      await tab.screenshot('desktop-gone');
    },
  );
});

/** Texts whose contrast with what is behind them is under 4.5, as WCAG 2 reckons it. */
const faint = `(() => {
  const parsed = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  const light = ({ r, g, b }) => [r, g, b].map((each) => each / 255).map((each) => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4).reduce((sum, each, index) => sum + each * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => { for (let each = element; each; each = each.parentElement) { const colour = parsed(getComputedStyle(each).backgroundColor); if (colour.a > 0) return colour; } return { r: 255, g: 255, b: 255, a: 1 }; };
  return [...document.querySelectorAll('body *')].filter((each) => each.checkVisibility() && !each.disabled && [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '')).flatMap((each) => {
    const [one, two] = [light(parsed(getComputedStyle(each).color)), light(behind(each))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (two + 0.05);
    return contrast < 4.5 ? [each.outerHTML.slice(0, 80) + ' ' + contrast.toFixed(2)] : [];
  });
})()`;
