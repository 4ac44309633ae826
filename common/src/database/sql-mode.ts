/**
 * sql_mode of every session: strict, and 0 is a value like any other in an AUTO_INCREMENT column. Backslash escapes stay on,
 * on which the quoting of strings relies. Zero dates stay readable and writable, for rows that exist with them.
 */
export const sqlMode =
  'STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO';
