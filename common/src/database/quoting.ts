/**
 * Quotes an identifier for MySQL and MariaDB: backticks around it, backticks inside doubled. The one place that does so.
 * @throws RangeError for what no server accepts as a name: empty, NUL, or characters beyond the basic multilingual plane.
 */
export function quoteIdentifier(name: string): string {
  if (name === '' || name.includes('\0') || /[\u{10000}-\u{10FFFF}]/u.test(name)) {
    throw new RangeError(`${JSON.stringify(name)} cannot be an identifier`);
  }
  return `\`${name.replaceAll('`', '``')}\``;
}

/** Quotes `schema`.`table`. */
export function quoteTable(schema: string, table: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`;
}

/** Quotes names and joins them by commas, for column lists. */
export function quoteList(names: readonly string[]): string {
  return names.map(quoteIdentifier).join(', ');
}

/** A string literal for the few places that take no placeholder (SET, DDL). Sessions never use NO_BACKSLASH_ESCAPES. */
export function quoteString(value: string): string {
  // The class names exactly the characters that MySQL's reference lists as special inside a string literal.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: NUL and Ctrl-Z are among them.
  return `'${value.replace(/[\0\n\r\x1a\\']/g, (character) => escapes[character] ?? character)}'`;
}

const escapes: Readonly<Record<string, string>> = {
  '\0': '\\0',
  '\n': '\\n',
  '\r': '\\r',
  '\x1a': '\\Z',
  '\\': '\\\\',
  "'": "\\'",
};
