CREATE TABLE cities (
  id INT UNSIGNED NOT NULL PRIMARY KEY,
  name VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL,
  ascii_name VARCHAR(200) NOT NULL,
  alternative_names TEXT CHARACTER SET utf8mb4 NOT NULL COMMENT 'in every script there is, with commas between',
  lat DECIMAL(8, 5) NOT NULL,
  lon DECIMAL(8, 5) NOT NULL,
  feature_code VARCHAR(10) NOT NULL,
  country CHAR(2) NOT NULL,
  population BIGINT UNSIGNED NOT NULL,
  elevation SMALLINT NULL,
  time_zone VARCHAR(40) NOT NULL,
  modified_on DATE NOT NULL,
  KEY country_population (country, population)
);
