CREATE TABLE airlines (
  carrier CHAR(2) NOT NULL PRIMARY KEY,
  name VARCHAR(60) NOT NULL
);

CREATE TABLE airports (
  faa CHAR(3) NOT NULL PRIMARY KEY,
  name VARCHAR(80) NOT NULL,
  lat DOUBLE NOT NULL,
  lon DOUBLE NOT NULL,
  alt SMALLINT NOT NULL COMMENT 'feet; some airports lie below the sea',
  tz TINYINT NOT NULL,
  dst CHAR(1) NOT NULL,
  tzone VARCHAR(40) NULL
);

CREATE TABLE planes (
  tailnum VARCHAR(6) NOT NULL PRIMARY KEY,
  year SMALLINT UNSIGNED NULL,
  type VARCHAR(30) NOT NULL,
  manufacturer VARCHAR(40) NOT NULL,
  model VARCHAR(30) NOT NULL,
  engines TINYINT UNSIGNED NOT NULL,
  seats SMALLINT UNSIGNED NOT NULL,
  speed SMALLINT UNSIGNED NULL,
  engine VARCHAR(20) NOT NULL
);

CREATE TABLE weather (
  origin CHAR(3) NOT NULL,
  time_hour DATETIME NOT NULL COMMENT 'UTC',
  year SMALLINT UNSIGNED NOT NULL,
  month TINYINT UNSIGNED NOT NULL,
  day TINYINT UNSIGNED NOT NULL,
  hour TINYINT UNSIGNED NOT NULL COMMENT 'local: the hour that clocks are set back occurs twice',
  temp DECIMAL(6, 2) NULL,
  dewp DECIMAL(6, 2) NULL,
  humid DECIMAL(6, 2) NULL,
  wind_dir SMALLINT UNSIGNED NULL,
  wind_speed DOUBLE NULL,
  wind_gust DOUBLE NULL,
  precip DOUBLE NOT NULL,
  pressure DOUBLE NULL COMMENT 'one row says 1e3',
  visib DECIMAL(5, 2) NOT NULL,
  PRIMARY KEY (origin, time_hour),
  CONSTRAINT weather_origin FOREIGN KEY (origin) REFERENCES airports (faa)
);

CREATE TABLE flights (
  year SMALLINT UNSIGNED NOT NULL,
  month TINYINT UNSIGNED NOT NULL,
  day TINYINT UNSIGNED NOT NULL,
  dep_time SMALLINT UNSIGNED NULL,
  sched_dep_time SMALLINT UNSIGNED NOT NULL,
  dep_delay SMALLINT NULL,
  arr_time SMALLINT UNSIGNED NULL,
  sched_arr_time SMALLINT UNSIGNED NOT NULL,
  arr_delay SMALLINT NULL,
  carrier CHAR(2) NOT NULL,
  flight SMALLINT UNSIGNED NOT NULL,
  tailnum VARCHAR(6) NULL COMMENT 'no foreign key: one in six planes is not registered in planes',
  origin CHAR(3) NOT NULL,
  dest CHAR(3) NOT NULL COMMENT 'no foreign key: four airports in the Caribbean are not in airports',
  air_time SMALLINT UNSIGNED NULL,
  distance SMALLINT UNSIGNED NOT NULL,
  hour TINYINT UNSIGNED NOT NULL,
  minute TINYINT UNSIGNED NOT NULL,
  time_hour DATETIME NOT NULL COMMENT 'UTC',
  PRIMARY KEY (year, month, day, carrier, flight, origin),
  KEY origin_time (origin, time_hour),
  KEY carrier (carrier),
  CONSTRAINT flights_carrier FOREIGN KEY (carrier) REFERENCES airlines (carrier),
  CONSTRAINT flights_origin FOREIGN KEY (origin) REFERENCES airports (faa)
);
