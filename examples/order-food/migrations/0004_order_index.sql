-- What the app lists and what archiving selects by; the key at the end lets both go on from where they were.
ALTER TABLE orders ADD INDEX created_at_id (created_at, id);

-- migrate:down
ALTER TABLE orders DROP INDEX created_at_id;
