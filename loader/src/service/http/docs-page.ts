import { accessText } from './openapi.ts';
import type { Route } from './route.ts';

/** The list of routes for people: one page without scripts or outside requests. */
export function docsPage(
  routes: readonly Route[],
  document: Readonly<Record<string, unknown>>,
  version: string,
): string {
  const paths = document['paths'] as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  const tags = Array.from(new Set(routes.map(({ tag }) => tag)));
  const sections = tags.map((tag) => {
    const items = routes
      .filter((route) => route.tag === tag)
      .map((route) => {
        const operation = paths[route.path.replaceAll(/:(\w+)/g, '{$1}')]?.[route.method.toLowerCase()];
        const schema = escapeHtml(JSON.stringify(operation, null, 2));
        return `<details><summary><code>${route.method} ${escapeHtml(route.path)}</code> ${escapeHtml(route.summary)} <small>${escapeHtml(accessText(route.access))}</small></summary><pre tabindex="0">${schema}</pre></details>`;
      });
    return `<h2>${escapeHtml(tag)}</h2>${items.join('')}`;
  });
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Tableset loader: API</title><style>${style}</style><main><h1>Tableset loader ${escapeHtml(version)}: API</h1><p>For machines: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1). Errors are problem documents (RFC 9457) with a code and a remedy.</p>${sections.join('')}</main></html>`;
}

/** Nothing but the page's own style. */
export const docsPolicy =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

const style =
  ':root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0}main{max-width:60rem;margin:auto;padding:1rem}summary{cursor:pointer;padding:.3rem 0}pre{overflow:auto;max-height:30rem;font-size:.8rem;padding:.5rem;border:1px solid #8888}small{opacity:.75}';

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
