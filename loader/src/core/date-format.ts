/** Turns a text of one form into the database's own form; null if it does not have that form. */
export type DateReader = (text: string) => string | null;

const tokenPattern = /YYYY|MM|DD|HH|mm|ss|M|D|H|S+|Z|\[[^\]]*\]/g;
const tokens: Readonly<Record<string, string>> = {
  YYYY: '(?<year>\\d{4})',
  MM: '(?<month>\\d\\d)',
  M: '(?<month>\\d{1,2})',
  DD: '(?<day>\\d\\d)',
  D: '(?<day>\\d{1,2})',
  HH: '(?<hour>\\d\\d)',
  H: '(?<hour>\\d{1,2})',
  mm: '(?<minute>\\d\\d)',
  ss: '(?<second>\\d\\d)',
  Z: '(?<offset>Z|[+-]\\d\\d(?::?\\d\\d)?)',
};

/**
 * Compiles a form such as `DD/MM/YYYY HH:mm`. Minutes and seconds that the form leaves out are 00.
 * @throws RangeError for a form without its year, month and day (or hour, for a time), with a part twice, or with other letters outside [brackets]
 */
export function compileDateFormat(format: string, type: 'date' | 'datetime' | 'time'): DateReader {
  const pattern = new RegExp(`^${patternOf(format)}$`);
  const has = (name: string) => pattern.source.includes(`(?<${name}>`);
  const wanted =
    type === 'time' ? ['hour'] : type === 'date' ? ['year', 'month', 'day'] : ['year', 'month', 'day', 'hour'];
  const missing = wanted.filter((name) => !has(name));
  if (missing.length > 0)
    throw new RangeError(`the date format ${JSON.stringify(format)} has no ${missing.join(', ')}`);
  return (text) => {
    const groups = text.length > 200 ? undefined : pattern.exec(text)?.groups;
    if (groups === undefined) return null;
    const two = (name: string) => (groups[name] ?? '').padStart(2, '0');
    const date = `${groups['year'] ?? ''}-${two('month')}-${two('day')}`;
    const fraction = groups['fraction'] === undefined ? '' : `.${groups['fraction']}`;
    const time = `${two('hour')}:${two('minute')}:${two('second')}${fraction}`;
    if (type === 'date') return date;
    return type === 'time' ? time : `${date} ${time}${groups['offset'] ?? ''}`;
  };
}

function patternOf(format: string): string {
  const seen = new Set<string>();
  let pattern = '';
  let at = 0;
  const literal = (text: string) => {
    if (/[A-Za-z]/.test(text))
      throw new RangeError(`the date format ${JSON.stringify(format)} has ${JSON.stringify(text)} outside [brackets]`);
    return escapePattern(text);
  };
  for (const match of format.matchAll(tokenPattern)) {
    const [token] = match;
    pattern += literal(format.slice(at, match.index));
    at = match.index + token.length;
    if (token.startsWith('[')) {
      pattern += escapePattern(token.slice(1, -1));
      continue;
    }
    const part = token.startsWith('S') ? `(?<fraction>\\d{${token.length}})` : (tokens[token] ?? '');
    const name = /<(\w+)>/.exec(part)?.[1] ?? '';
    if (seen.has(name)) throw new RangeError(`the date format ${JSON.stringify(format)} has its ${name} twice`);
    seen.add(name);
    pattern += part;
  }
  return pattern + literal(format.slice(at));
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}
