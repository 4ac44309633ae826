/**
 * The page's only script, as text: it runs in browsers, where nothing of this program is. It asks for the sections anew, puts in those that differ, says aloud what
 * changed, and does what the buttons say with a token that it keeps in a variable and nowhere else.
 */
export const pageScript = `
'use strict';
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const everyMs = 3000;
  let token = null;
  let client = '';
  let expiry = 0;
  let states = statesNow();

  root.classList.add('scripts');
  root.classList.toggle('trigger', root.dataset.open === 'true');

  function statesNow() {
    const found = new Map();
    for (const each of document.querySelectorAll('[data-run]'))
      found.set(each.dataset.run, { task: each.dataset.task, state: each.dataset.state });
    return found;
  }

  function announce(text) {
    byId('announcer').textContent = text;
  }

  function complain(text) {
    byId('notice').textContent = text;
  }

  // What was asked for by the person is said at once; what happened by itself in one sentence each, at most three.
  function announceChanges() {
    const after = statesNow();
    const said = [];
    for (const [run, { task, state }] of after) {
      const before = states.get(run);
      if ((before === undefined ? '' : before.state) !== state) said.push('Run ' + run + ', ' + task + ': ' + state + '.');
    }
    states = after;
    if (said.length > 0) announce(said.slice(0, 3).join(' '));
  }

  let refreshing = false;
  async function refresh() {
    if (refreshing) return;
    refreshing = true;
    try {
      const answer = await fetch('?part=sections', { cache: 'no-store', signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const focused = document.activeElement && document.activeElement.id;
      for (const section of fresh.querySelectorAll('section[id]')) {
        const old = byId(section.id);
        if (old && old.innerHTML !== section.innerHTML) old.replaceChildren(...section.childNodes);
      }
      if (focused && document.activeElement === document.body) {
        const again = byId(focused);
        if (again) again.focus({ preventScroll: true });
        else byId('main').focus({ preventScroll: true });
      }
      document.title = fresh.title || document.title;
      byId('stale').textContent = '';
      announceChanges();
    } catch {
      byId('stale').textContent = 'The service does not answer. This is what was known ' + byId('stale').dataset.at + '.';
      return;
    } finally {
      refreshing = false;
    }
    byId('stale').dataset.at = 'at ' + new Date().toLocaleTimeString();
    await showDeadLetters();
  }

  setInterval(() => {
    if (token !== null && Date.now() > expiry) signOut('You are signed out: the token has expired.');
    if (!document.hidden && byId('updates').checked) void refresh();
  }, everyMs);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && byId('updates').checked) void refresh();
  });

  async function call(method, path, body) {
    const headers = { accept: 'application/json' };
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (token !== null) headers.authorization = 'Bearer ' + token;
    let answer;
    try {
      answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(30000) });
    } catch {
      throw new Error('The service does not answer.');
    }
    const text = await answer.text();
    let document = {};
    try { document = JSON.parse(text); } catch { /* A proxy may answer with a page of its own. */ }
    if (answer.ok) return document;
    if (answer.status === 401 && token !== null) signOut('You are signed out: the token is no longer good.');
    const detail = document.detail || 'the service answered ' + answer.status;
    throw new Error(detail[0].toUpperCase() + detail.slice(1) + '.' + (token !== null && document.remedy ? ' ' + document.remedy : ''));
  }

  function may(roles) {
    const has = (...names) => names.some((name) => roles.includes(name));
    root.classList.toggle('viewer', has('viewer', 'operator', 'admin'));
    root.classList.toggle('operator', has('operator', 'admin'));
    root.classList.toggle('trigger', root.dataset.open === 'true' || has('operator', 'admin', 'trigger'));
    root.classList.toggle('known', token !== null);
  }

  function signOut(why) {
    token = null;
    may([]);
    byId('letters').hidden = true;
    announce(why);
  }

  async function signIn(id, secret) {
    if (root.dataset.api !== 'true') {
      // The trigger's token is tried when it is used.
      token = secret;
      client = 'holder of the trigger token';
      expiry = Infinity;
      may(['trigger']);
      return ['trigger'];
    }
    const given = await call('POST', 'api/v1/auth/token', { grant_type: 'client_credentials', client_id: id, client_secret: secret });
    token = given.access_token;
    client = id;
    expiry = Date.now() + given.expires_in * 1000;
    may(given.roles);
    return given.roles;
  }

  const dialog = byId('sign-in');
  byId('sign-in-open').addEventListener('click', () => {
    byId('sign-in-problem').textContent = '';
    dialog.showModal();
  });
  byId('sign-out').addEventListener('click', () => {
    signOut('You are signed out.');
    byId('sign-in-open').focus();
  });
  byId('sign-in-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    const id = byId('client-id');
    const secret = byId('client-secret');
    byId('sign-in-problem').textContent = '';
    try {
      const roles = await signIn(id ? id.value : '', secret.value);
      byId('who').textContent = client;
      dialog.close();
      byId('sign-out').focus();
      announce('Signed in as ' + client + ' with ' + (roles.join(', ') || 'no roles') + '.');
      await showDeadLetters();
    } catch (error) {
      byId('sign-in-problem').textContent = error.message;
      secret.focus();
    } finally {
      secret.value = '';
    }
  });
  for (const closer of document.querySelectorAll('[data-close]'))
    closer.addEventListener('click', () => closer.closest('dialog').close());

  // Resolves to whether the person means it.
  function asked(question) {
    const box = byId('confirm');
    byId('confirm-text').textContent = question;
    box.returnValue = '';
    box.showModal();
    return new Promise((resolve) => box.addEventListener('close', () => resolve(box.returnValue === 'yes'), { once: true }));
  }
  byId('confirm-yes').addEventListener('click', () => byId('confirm').close('yes'));

  // Somebody who clicks twice, or whose answer is lost, starts one run.
  function freshKey() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  const actions = {
    async start({ task, table }) {
      const what = task + (table ? ' of ' + table : ' of all tables');
      if (task !== 'load' && !(await asked('Start ' + what + '?' + (task === 'archive' || task === 'purge' ? ' It deletes rows as the configuration says.' : '')))) return;
      const body = { task, idempotencyKey: freshKey(), ...(table ? { tables: [table] } : {}) };
      const { run } = await call('POST', 'trigger', body);
      announce('Run ' + run.id + ' waits its turn: ' + what + '.');
    },
    async retry({ of }) {
      const { run } = await call('POST', 'api/v1/runs/' + of + '/retry');
      announce('Run ' + run.id + ' waits its turn: run ' + of + ' again.');
    },
    async cancel({ of }) {
      if (!(await asked('Cancel run ' + of + '? What it has finished stays.'))) return;
      const { run } = await call('POST', 'api/v1/runs/' + of + '/cancel');
      announce(run.state === 'cancelled' ? 'Run ' + of + ' is cancelled.' : 'Run ' + of + ' stops at its next safe point.');
    },
    async replay({ of }) {
      await call('POST', 'api/v1/webhooks/deliveries/' + of + '/replay');
      announce('Notice ' + of + ' is told again.');
    },
    async details({ of }) {
      const { run } = await call('GET', 'api/v1/runs/' + of);
      byId('details-title').textContent = 'Run ' + run.id + ', ' + run.task + ': ' + run.state;
      const lines = [];
      if (run.error) lines.push([run.error.code + ': ' + run.error.message], [run.error.remedy]);
      lines.push(['Asked for by ' + run.requestedBy + ' (' + run.trigger + '), try ' + run.attempt + ' of ' + run.attemptsMax + (run.worker ? ', worker ' + run.worker : '') + '.']);
      if (run.summary) lines.push([JSON.stringify(run.summary, null, 2), 'Summary']);
      if (run.logTail) lines.push([run.logTail, 'Last log lines']);
      byId('details-body').replaceChildren(...lines.flatMap(([text, title]) => {
        const body = document.createElement(title ? 'pre' : 'p');
        body.textContent = text;
        if (!title) return [body];
        body.tabIndex = 0;
        const heading = document.createElement('h3');
        heading.textContent = title;
        return [heading, body];
      }));
      byId('details').showModal();
    },
  };

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('button[data-action]');
    if (!button || button.disabled) return;
    complain('');
    button.disabled = true;
    try {
      await actions[button.dataset.action](button.dataset);
    } catch (error) {
      complain(error.message);
    } finally {
      button.disabled = false;
      const there = byId(button.id);
      if (there && document.activeElement === document.body) there.focus({ preventScroll: true });
    }
    await refresh();
  });

  async function showDeadLetters() {
    if (!root.classList.contains('viewer')) return;
    let items;
    try {
      ({ items } = await call('GET', 'api/v1/webhooks/deliveries?state=dead&limit=20'));
    } catch {
      return;
    }
    const list = byId('letters-list');
    const known = items.map(({ id }) => id).join();
    byId('letters').hidden = items.length === 0;
    if (list.dataset.known === known) return;
    list.dataset.known = known;
    list.replaceChildren(...items.map(({ id, table, run, reason, receiver }) => {
      const item = document.createElement('li');
      item.className = 'line';
      const text = document.createElement('span');
      text.textContent = table + ', run ' + run + ', to ' + receiver + ': ' + reason;
      const button = document.createElement('button');
      Object.assign(button, { type: 'button', className: 'may-operate', id: 'replay-' + id, textContent: 'Replay' });
      Object.assign(button.dataset, { action: 'replay', of: id });
      button.setAttribute('aria-label', 'Replay notice ' + id + ' of ' + table);
      item.append(text, button);
      return item;
    }));
  }
})();
`.trim();
