CREATE TABLE cities (
  id INT UNSIGNED NOT NULL PRIMARY KEY COMMENT 'as in GeoNames',
  name VARCHAR(120) NOT NULL,
  local_name VARCHAR(120) NOT NULL COMMENT 'as the people there write it',
  country CHAR(2) NOT NULL,
  population INT UNSIGNED NOT NULL,
  time_zone VARCHAR(64) NOT NULL
) COMMENT 'where the app delivers';

CREATE TABLE restaurants (
  id INT UNSIGNED NOT NULL PRIMARY KEY,
  city_id INT UNSIGNED NOT NULL,
  name VARCHAR(120) NOT NULL,
  street VARCHAR(160) NOT NULL,
  opened_on DATE NOT NULL,
  KEY city_id (city_id),
  CONSTRAINT restaurants_city FOREIGN KEY (city_id) REFERENCES cities (id)
);

-- migrate:down
DROP TABLE restaurants;
DROP TABLE cities;
