CREATE TABLE categories (
  code VARCHAR(20) NOT NULL PRIMARY KEY,
  name VARCHAR(60) NOT NULL,
  position TINYINT UNSIGNED NOT NULL COMMENT 'order on the page'
);

CREATE TABLE products (
  id INT UNSIGNED NOT NULL PRIMARY KEY,
  restaurant_id INT UNSIGNED NOT NULL,
  category VARCHAR(20) NOT NULL,
  name VARCHAR(120) NOT NULL,
  description VARCHAR(400) NULL,
  price DECIMAL(10, 2) NOT NULL,
  currency CHAR(3) NOT NULL,
  available BOOLEAN NOT NULL DEFAULT TRUE,
  KEY restaurant_id (restaurant_id),
  CONSTRAINT products_restaurant FOREIGN KEY (restaurant_id) REFERENCES restaurants (id),
  CONSTRAINT products_category FOREIGN KEY (category) REFERENCES categories (code)
);

-- migrate:down
DROP TABLE products;
DROP TABLE categories;
