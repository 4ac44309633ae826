import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { geonamesCities, nycflights13 } from '../datasets/index.ts';
import { load } from '../demo/programs.ts';

describeEachServer('a load of real data', (server) => {
  test('takes all flights that left New York in 2013, with their airlines, airports, planes and weather', {
    timeout: 300_000,
  }, async ({ signal }) => {
    const data = await nycflights13();
    const schema = await server.createSchema();
    await schema.script(data.schema);
    const first = await load(data.config, { environment: schema.environment, signal });
    const inserted = first.tables.map(({ table, inserted }) => [table, inserted]);
    expect(Object.fromEntries(inserted)).toEqual(data.rows);
    // The figures of the package's own documentation and of a second program that read the files.
    expect(
      await schema.query(
        'SELECT COUNT(*) AS flights, COUNT(dep_time) AS departed, SUM(distance) AS miles FROM flights',
      ),
    ).toEqual([{ flights: 336776, departed: 328521, miles: '350217607' }]);
    const again = await load(data.config, { environment: schema.environment, signal });
    expect(again.tables.every(({ read, unchanged }) => read === unchanged)).toBe(true);
  });

  test('takes the names of the cities of the world in every script', { timeout: 300_000 }, async ({ signal }) => {
    const data = await geonamesCities();
    const schema = await server.createSchema();
    await schema.script(data.schema);
    const first = await load(data.config, { environment: schema.environment, signal });
    expect(first.tables).toMatchObject([{ inserted: 135233, rejected: 0 }]);
    const [tokyo] = await schema.query('SELECT name, lat, alternative_names AS others FROM cities WHERE id = 1850147');
    expect(tokyo).toMatchObject({ name: 'Tokyo', lat: '35.68950' });
    expect(String(tokyo?.['others']).split(',')).toEqual(
      expect.arrayContaining(['東京', '도쿄', 'Токио', 'Τόκιο', 'טוקיו', 'طوكيو', 'टोक्यो', 'โตเกียว', 'ტოკიო', 'Տոկիո']),
    );
    const again = await load(data.config, { environment: schema.environment, signal });
    expect(again.tables).toMatchObject([{ unchanged: 135233, inserted: 0, updated: 0 }]);
  });
});
