import type { Knex } from 'knex';

/** A column and the index that the filter on the page uses. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('products', (table) => {
    table.boolean('vegetarian').notNullable().defaultTo(false).after('currency');
    table.index(['vegetarian', 'category'], 'vegetarian_category');
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('products', (table) => {
    table.dropIndex(['vegetarian', 'category'], 'vegetarian_category');
    table.dropColumn('vegetarian');
  });
}
