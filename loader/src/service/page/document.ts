import { createHash } from 'node:crypto';
import { duration } from './format.ts';
import { Html, html } from './html.ts';
import { pageScript } from './script.ts';
import { headline, type PageFacts, sections } from './sections.ts';
import { pageStyle } from './style.ts';

export interface PageAccess {
  /** The API is on, so that people sign in as its clients. */
  readonly apiOn: boolean;
  /** Anybody may trigger. */
  readonly triggerOpen: boolean;
}

/** Nothing but the page's own style and script, by their hashes, and requests to the service itself. */
export const pagePolicy = [
  "default-src 'none'",
  `script-src 'sha256-${hashOf(pageScript)}'`,
  `style-src 'sha256-${hashOf(pageStyle)}'`,
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The whole page. It shows everything without its script; with it, it stays current and has buttons. */
export function pageDocument(facts: PageFacts, access: PageAccess): string {
  const { apiOn, triggerOpen } = access;
  return html`${new Html('<!doctype html>')}<html lang="en" data-api="${String(apiOn)}" data-open="${String(triggerOpen)}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>${titleOf(facts)}</title><link rel="icon" href="data:,"><style>${new Html(pageStyle)}</style></head><body><a class="skip" href="#main">Skip to content</a>${header(facts, access)}<main id="main" tabindex="-1"><p id="stale" class="notice" role="alert" data-at="when it was loaded"></p><p id="notice" class="notice" role="alert"></p><p id="announcer" class="hidden" role="status"></p>${sections(facts)}${deadLetters}</main>${footer(facts)}${signInDialog(access)}${dialogs}<script>${new Html(pageScript)}</script></body></html>`
    .text;
}

/** What the script asks for: the sections alone. */
export function pageSections(facts: PageFacts): string {
  return html`<title>${titleOf(facts)}</title>${sections(facts)}`.text;
}

function titleOf(facts: PageFacts): string {
  return `${headline(facts)} · Tableset loader`;
}

function header(facts: PageFacts, { apiOn, triggerOpen }: PageAccess): Html {
  const { replica, version, uptimeSeconds } = facts.status;
  const signIn =
    apiOn || !triggerOpen
      ? html`<button type="button" class="signed-out" id="sign-in-open">Sign in</button><span class="signed-in">Signed in as <strong id="who"></strong></span> <button type="button" class="signed-in" id="sign-out">Sign out</button>`
      : html`<button type="button" class="hidden" id="sign-in-open" tabindex="-1" hidden>Sign in</button><span id="who" hidden></span><button type="button" id="sign-out" hidden>Sign out</button>`;
  return html`<header><div><h1>Tableset loader</h1><p class="small muted">${version} on ${replica}, up for ${duration(uptimeSeconds)}</p></div><div><label class="updates scripted"><input type="checkbox" id="updates" checked> Keep current</label> <span class="scripted">${signIn}</span></div></header>`;
}

function footer({ status }: PageFacts): Html {
  const { leader, config } = status;
  const leads = leader.self ? 'This replica leads.' : `${leader.holder ?? 'Nobody'} leads.`;
  return html`<footer><span>${leads}</span><span>Configuration <code>${config.hash.slice(0, 12)}</code></span><a href="docs">API</a><a href="status">Status as JSON</a><a href="metrics">Metrics</a></footer>`;
}

function signInDialog({ apiOn }: PageAccess): Html {
  const id = apiOn
    ? html`<label for="client-id">Client id</label><input id="client-id" name="username" autocomplete="username" autocapitalize="off" spellcheck="false" required>`
    : null;
  const secret = apiOn ? 'Client secret' : 'Trigger token';
  return html`<dialog id="sign-in" aria-labelledby="sign-in-title"><form id="sign-in-form"><h2 id="sign-in-title">Sign in</h2><p class="small">The token stays in this page's memory: leaving or reloading it signs you out.</p>${id}<label for="client-secret">${secret}</label><input id="client-secret" name="password" type="password" autocomplete="current-password" required><p id="sign-in-problem" class="bad" role="alert"></p><div class="ends"><button type="button" data-close>Close</button><button type="submit" class="main">Sign in</button></div></form></dialog>`;
}

const deadLetters = html`<section id="letters" aria-labelledby="letters-title" hidden><h2 id="letters-title">Webhook notices that were given up</h2><ul id="letters-list"></ul></section>`;

const dialogs = html`<dialog id="confirm" aria-labelledby="confirm-text"><p id="confirm-text"></p><div class="ends"><button type="button" data-close>No</button><button type="button" class="main" id="confirm-yes">Yes</button></div></dialog><dialog id="details" aria-labelledby="details-title"><h2 id="details-title"></h2><div id="details-body"></div><div class="ends"><button type="button" data-close>Close</button></div></dialog>`;

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}
