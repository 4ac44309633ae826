CREATE SQL SECURITY INVOKER VIEW best_sellers AS
SELECT
  products.id,
  products.name,
  SUM(order_items.quantity) AS sold
FROM order_items
  JOIN orders ON orders.id = order_items.order_id AND orders.state <> 'cancelled'
  JOIN products ON products.id = order_items.product_id
GROUP BY products.id, products.name;

-- migrate:down
DROP VIEW best_sellers;
