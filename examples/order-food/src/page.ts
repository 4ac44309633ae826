import type { Freshness, Product } from './catalogue.ts';

/** The one page of the shop. */
export function renderPage(products: readonly Product[], freshness: readonly Freshness[]): string {
  const rows = products.map(
    (product) => `<tr>
  <td>${escapeHtml(product.city)}</td>
  <td>${escapeHtml(product.restaurant)}</td>
  <td><b>${escapeHtml(product.name)}</b>${product.vegetarian ? ' 🌱' : ''}<br><small>${escapeHtml(product.description ?? '')}</small></td>
  <td class="price">${escapeHtml(product.price)} ${escapeHtml(product.currency)}</td>
</tr>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Order food</title>
<style>
body { font: 16px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid #ddd; padding: .5rem; vertical-align: top; }
.price { text-align: right; white-space: nowrap; }
footer { color: #555; margin-top: 1rem; }
</style>
</head>
<body>
<h1>Order food</h1>
<table>
${rows.join('\n')}
</table>
<footer>${escapeHtml(freshnessNote(freshness))}</footer>
</body>
</html>
`;
}

/** A sentence on how current the page is. */
export function freshnessNote(freshness: readonly Freshness[]): string {
  const products = freshness.find((entry) => entry.table === 'products');
  if (products === undefined) return 'The menu was not loaded yet.';
  return `${products.rows} products, as of ${describeAge(products.ageSeconds)} ago.`;
}

function describeAge(seconds: number): string {
  if (seconds < 120) return `${seconds} seconds`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} minutes`;
  return `${Math.floor(seconds / 3600)} hours`;
}

/** Makes a text safe inside an element and inside a quoted attribute. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
