import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../../test/servers.ts';
import { load, migrate, startApp } from '../../../tools/demo/programs.ts';

const example = join(import.meta.dirname, '..');
const config = join(example, 'config.yaml');

describeEachServer('order-food', (server) => {
  test('its schema, its data and its app come up one after the other', async ({ signal }) => {
    const schema = await server.createSchema();
    const environment = { ...schema.environment, MIGRATIONS_DIR: join(example, 'migrations') };
    const surroundings = { environment, signal };

    const migrated = await migrate(surroundings);
    expect(migrated.applied).toHaveLength(7);
    {
      await using app = await startApp(surroundings);
      // The page is there before the first load, without products and without a view to ask for their age.
      expect(await (await fetch(app.url)).text()).toContain('The menu was not loaded yet.');
    }

    const loaded = await load(config, surroundings);
    expect(loaded.tables.map(({ table, read, inserted }) => [table, read, inserted])).toEqual([
      ['cities', 18, 18],
      ['restaurants', 19, 19],
      ['categories', 6, 6],
      ['products', 42, 42],
      ['orders', 3000, 3000],
      ['order_items', 4883, 4883],
    ]);
    await using app = await startApp(surroundings);
    const answer: unknown = await (await fetch(`${app.url}/products`)).json();
    expect(answer).toHaveProperty('products.length', 42);
    const matcha = {
      id: 119,
      name: '𠮷野の抹茶',
      description: '薄茶、干菓子付き',
      category: 'Drinks',
      price: '650.00',
      currency: 'JPY',
      vegetarian: true,
      restaurant: '蕎麦処 さくら',
      city: '東京',
    };
    expect(answer).toMatchObject({ products: expect.arrayContaining([matcha]) });
    expect(await (await fetch(app.url)).text()).toContain('42 products, as of');
    expect((await fetch(`${app.url}/health`)).status).toBe(200);
    expect((await fetch(`${app.url}/nothing`)).status).toBe(404);
    expect((await fetch(app.url, { method: 'POST' })).status).toBe(405);

    const again = await load(config, surroundings);
    expect(again.tables.every(({ read, unchanged }) => read === unchanged)).toBe(true);
    expect(await schema.query('SELECT created_at, note FROM orders WHERE id = 10000000000')).toEqual([
      { created_at: '2023-11-01 04:41:45.297', note: null },
    ]);
  });

  test('an order can be cancelled until it is closed', async ({ signal }) => {
    const schema = await server.createSchema();
    await migrate({ environment: { ...schema.environment, MIGRATIONS_DIR: join(example, 'migrations') }, signal });
    await schema.script(`INSERT INTO cities VALUES (1, 'a', 'b', 'XX', 1, 'UTC');
      INSERT INTO orders VALUES (1, 1, 'c', 'placed', NULL, '2026-01-01'), (2, 1, 'c', 'delivered', NULL, '2026-01-01')`);
    await schema.query('CALL cancel_order(1)');
    await expect(schema.query('CALL cancel_order(2)')).rejects.toThrow('too late to cancel; the order is closed');
    expect(await schema.query('SELECT state FROM orders ORDER BY id')).toEqual([
      { state: 'cancelled' },
      { state: 'delivered' },
    ]);
  });
});
