/** A menu of one restaurant whose dishes all have one price, as values of the chart database-load and of its init container. */
export function menu(
  rows: number,
  price: string,
): { readonly config: object; readonly files: Readonly<Record<string, string>> } {
  const products = Array.from({ length: rows }, (_, index) => `${index + 1},1,main,Dish ${index + 1},${price},EUR`);
  return {
    config: {
      load: [
        { table: 'cities', source: 'cities.csv' },
        { table: 'restaurants', source: 'restaurants.csv' },
        { table: 'categories', source: 'categories.csv' },
        { table: 'products', source: 'products.csv', mode: 'mirror' },
      ],
    },
    files: {
      'cities.csv': 'id,name,local_name,country,population,time_zone\n1,Rome,Roma,IT,2800000,Europe/Rome\n',
      'restaurants.csv': 'id,city_id,name,street,opened_on\n1,1,Da Ada,Via 1,2020-01-01\n',
      'categories.csv': 'code,name,position\nmain,Mains,1\n',
      'products.csv': `id,restaurant_id,category,name,price,currency\n${products.join('\n')}\n`,
    },
  };
}
