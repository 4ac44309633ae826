CREATE TABLE orders (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  city_id INT UNSIGNED NOT NULL,
  customer VARCHAR(120) NOT NULL,
  state ENUM ('placed', 'delivered', 'cancelled') NOT NULL,
  note VARCHAR(255) NULL COMMENT 'what the customer wrote; may hold quotes, emoji and line ends',
  created_at DATETIME(3) NOT NULL COMMENT 'UTC',
  CONSTRAINT orders_city FOREIGN KEY (city_id) REFERENCES cities (id)
);

CREATE TABLE order_items (
  order_id BIGINT UNSIGNED NOT NULL,
  line SMALLINT UNSIGNED NOT NULL,
  product_id INT UNSIGNED NOT NULL,
  quantity SMALLINT UNSIGNED NOT NULL,
  unit_price DECIMAL(10, 2) NOT NULL,
  PRIMARY KEY (order_id, line),
  KEY product_id (product_id),
  CONSTRAINT order_items_order FOREIGN KEY (order_id) REFERENCES orders (id),
  CONSTRAINT order_items_product FOREIGN KEY (product_id) REFERENCES products (id)
);

-- migrate:down
DROP TABLE order_items;
DROP TABLE orders;
