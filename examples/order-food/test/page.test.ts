import { expect, test } from 'vitest';
import { freshnessNote, renderPage } from '../src/page.ts';

const product = {
  id: 1,
  name: '<script>alert("1")</script>',
  description: null,
  category: 'Mains',
  price: '12.50',
  currency: 'EUR',
  vegetarian: true,
  restaurant: 'Curry & Sons',
  city: '東京',
};

test('what restaurants write is shown as text', () => {
  const page = renderPage([product], []);
  expect(page).not.toContain('<script>');
  expect(page).toContain('&lt;script&gt;alert(&quot;1&quot;)');
  expect(page).toContain('Curry &amp; Sons');
  expect(page).toContain('東京');
});

test('the page says how old the menu is', () => {
  expect(freshnessNote([])).toBe('The menu was not loaded yet.');
  expect(freshnessNote([{ table: 'products', ageSeconds: 7300, rows: 42 }])).toBe('42 products, as of 2 hours ago.');
  expect(freshnessNote([{ table: 'products', ageSeconds: 119, rows: 1 }])).toContain('119 seconds');
});
