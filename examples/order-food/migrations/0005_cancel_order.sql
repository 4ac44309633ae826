DELIMITER //

CREATE PROCEDURE cancel_order (IN wanted BIGINT UNSIGNED)
COMMENT 'Cancels an order that is not on its way; others are refused.'
BEGIN
  DECLARE current_state VARCHAR(20);
  SELECT state INTO current_state FROM orders WHERE id = wanted FOR UPDATE;
  IF current_state = 'placed' THEN
    UPDATE orders SET state = 'cancelled' WHERE id = wanted;
  ELSE
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'too late to cancel; the order is closed';
  END IF;
END//

DELIMITER ;

-- migrate:down
DROP PROCEDURE cancel_order;
