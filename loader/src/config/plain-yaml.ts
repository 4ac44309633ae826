/** What a plain text says, and where its maps begin. */
export interface PlainYaml {
  readonly values: Readonly<Record<string, unknown>>;
  /** Line and column of a map's first key, counted from 1. */
  readonly positions: ReadonlyMap<unknown, { readonly line: number; readonly column: number }>;
}

interface Line {
  readonly number: number;
  readonly indent: number;
  readonly text: string;
}

const depthMax = 20;
/** Some of the patterns below take time by the square of it. */
const lineLengthMax = 2000;
const key = /^([A-Za-z_][\w-]{0,99}):(?: +(.*))?$/;
/** Nothing that YAML could read as anything but this very text. */
const plainText = /^[A-Za-z/](?:[\w./@+=*?~-]|:(?=[\w./-]))*$/;
const quoted = /^(?:"([^"\\]*)"|'([^']*)')$/;
const integer = /^(?:0|[1-9]\d{0,14})$/;
/** true and false in other cases, and what older YAML took for booleans, are left to the parser. */
const reserved = /^(?:null|true|false|yes|no|on|off|y|n)$/i;

/** Thrown and caught in here alone. */
class NotPlain extends Error {}

/**
 * Reads the plain part of YAML that configurations are mostly written in, and charts write: block maps and lists of words, integers,
 * booleans, quoted texts without escapes, and lists of these in brackets. The whole parser takes 13 ms of a start to load and run.
 * @returns what the parser would say, or null for a text that holds anything else, be it right or wrong
 */
export function readPlainYaml(text: string): PlainYaml | null {
  // Printable ASCII and line feeds.
  if (!/^[\n\x20-\x7e]*$/.test(text)) return null;
  const lines: Line[] = [];
  for (const [index, whole] of text.split('\n').entries()) {
    if (whole.length > lineLengthMax) return null;
    const trimmed = whole.trimEnd();
    const indent = trimmed.search(/\S/);
    if (indent < 0 || trimmed[indent] === '#') continue;
    lines.push({ number: index + 1, indent, text: trimmed.slice(indent) });
  }
  if (lines[0]?.indent !== 0) return null;
  try {
    return new PlainReader(lines).read();
  } catch (error) {
    if (error instanceof NotPlain) return null;
    throw error;
  }
}

class PlainReader {
  readonly #lines: Line[];
  readonly #positions = new Map<unknown, { readonly line: number; readonly column: number }>();
  #next = 0;

  constructor(lines: Line[]) {
    this.#lines = lines;
  }

  read(): PlainYaml {
    const values = this.#map(0, 0);
    if (this.#next < this.#lines.length) throw new NotPlain();
    return { values, positions: this.#positions };
  }

  #map(indent: number, depth: number): Record<string, unknown> {
    if (depth > depthMax) throw new NotPlain();
    const map: Record<string, unknown> = {};
    const first = this.#lines[this.#next];
    if (first) this.#positions.set(map, { line: first.number, column: indent + 1 });
    let line = first;
    while (line !== undefined && line.indent >= indent && !isItem(line.text)) {
      const [, name = '', rest = ''] = key.exec(line.text) ?? [];
      if (line.indent > indent || name === '' || reserved.test(name) || name === '__proto__') throw new NotPlain();
      if (Object.hasOwn(map, name)) throw new NotPlain();
      this.#next++;
      map[name] = rest === '' || rest.startsWith('#') ? this.#below(indent, depth) : scalarOrList(rest);
      line = this.#lines[this.#next];
    }
    return map;
  }

  /** The value of a key that has none on its line. */
  #below(indent: number, depth: number): unknown {
    const line = this.#lines[this.#next];
    if (line === undefined || line.indent < indent) throw new NotPlain();
    // The items of a list may stand right below their key.
    if (isItem(line.text)) return this.#list(line.indent, depth + 1);
    if (line.indent === indent) throw new NotPlain();
    return this.#map(line.indent, depth + 1);
  }

  #list(indent: number, depth: number): unknown[] {
    const list: unknown[] = [];
    for (;;) {
      const line = this.#lines[this.#next];
      if (line === undefined || line.indent < indent || (line.indent === indent && !isItem(line.text))) return list;
      const content = /^- ([^ #].*)$/.exec(line.text)?.[1];
      if (line.indent > indent || content === undefined) throw new NotPlain();
      if (key.test(content)) {
        this.#lines[this.#next] = { ...line, indent: indent + 2, text: content };
        list.push(this.#map(indent + 2, depth + 1));
      } else {
        this.#next++;
        list.push(scalarOrList(content));
      }
    }
  }
}

function isItem(text: string): boolean {
  return text.startsWith('-');
}

function scalarOrList(text: string): unknown {
  const content = text.replace(/ +#.*$/, '');
  const inner = /^\[(.*)\]$/.exec(content)?.[1];
  if (inner === undefined) return scalar(content);
  if (inner.trim() === '') return [];
  return inner.split(/, */).map((part) => {
    // A colon is more in brackets than it is outside.
    if (part.includes(':')) throw new NotPlain();
    return scalar(part);
  });
}

function scalar(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  if (integer.test(text)) return Number(text);
  const [, double, single] = quoted.exec(text) ?? [];
  const content = double ?? single;
  if (content !== undefined) return content;
  if (!plainText.test(text) || reserved.test(text)) throw new NotPlain();
  return text;
}
