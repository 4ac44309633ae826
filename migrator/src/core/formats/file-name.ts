import type { FolderEntry } from './migration.ts';

/** What the name of a file says; its content may still have to decide between the tools of the family. */
export type FileName =
  | { readonly family: 'passed-over'; readonly reason: string }
  /** It looks like a migration, but its name has no version that is understood. */
  | { readonly family: 'unreadable' }
  /** Carrying it out would need another tool. */
  | { readonly family: 'unsupported'; readonly what: string }
  | NumberedName
  | PairName
  | ScriptName
  | FlywayName;

/** `0001_name.sql`: of tableset, dbmate or goose. */
export interface NumberedName extends Versioned {
  readonly family: 'numbered';
}

/** `0001_name.up.sql`, `0001_name.down.sql`: of golang-migrate. */
export interface PairName extends Versioned {
  readonly family: 'pair';
  readonly direction: 'up' | 'down';
  readonly transaction: boolean;
}

/** `0001_name.ts`, or a name as knex allows it. */
export interface ScriptName extends Versioned {
  readonly family: 'script';
  /** Whether the name starts with one number, so that tableset reads it too. */
  readonly isNumbered: boolean;
  /** The name without its ending, by which knex knows it. */
  readonly base: string;
}

export interface FlywayName {
  readonly family: 'flyway';
  readonly prefix: 'V' | 'U' | 'B' | 'R';
  readonly version: string | undefined;
  readonly name: string;
}

interface Versioned {
  /** The version as it stands, with dots between its parts. */
  readonly version: string;
  readonly name: string;
  /** `mysql` or `mariadb` when the name says that the file is for this server alone. */
  readonly dialect: 'mysql' | 'mariadb' | undefined;
}

const otherDialects = new Set(
  'postgres postgresql pg psql sqlite sqlite3 cockroach cockroachdb crdb mssql sqlserver oracle clickhouse spanner h2 hsqldb derby db2 redshift snowflake yugabyte'.split(
    ' ',
  ),
);
const passedFolders = new Set([
  'seed',
  'seeds',
  'seeders',
  'node_modules',
  'test',
  'tests',
  '__tests__',
  'testdata',
  'fixtures',
]);
const foreignCode = /\.(?:go|java|kt|groovy|class|py|rb|php|cs|exs?|pl|sh|psql|yaml|yml|xml)$/i;
const packed = /\.sql\.(?:gz|zst|bz2|xz|zip)$/i;

/** Reads the name of a file in a migrations folder. Does not look into the file. */
export function parseFileName(path: string): FileName {
  const parts = path.split('/');
  const file = parts.at(-1) ?? '';
  if (parts.some((part) => part.startsWith('.'))) return { family: 'passed-over', reason: 'hidden' };
  if (parts.slice(0, -1).some((part) => passedFolders.has(part.toLowerCase()))) {
    return { family: 'passed-over', reason: 'in a folder for seeds or tests' };
  }
  if (packed.test(file)) return { family: 'unreadable' };
  if (/\.sql$/i.test(file)) return parseSqlName(file, parts.length > 1);
  if (parts.length > 1) return { family: 'passed-over', reason: 'in a subfolder' };
  if (/\.(?:ts|js|mjs|cjs)$/i.test(file)) return parseScriptName(file);
  if (foreignCode.test(file) && /^(?:\d+_|[VUBR][\d._]*__)/.test(file)) {
    return { family: 'unsupported', what: 'a migration in another language' };
  }
  return { family: 'passed-over', reason: 'not a migration' };
}

/**
 * Whether the text of a script can be a migration rather than a helper: it exports something and speaks of `up`, in whatever
 * way (`exports.up`, `export default { up }`, `module.exports = {…}`). In doubt it is one: loading it then says what is missing.
 */
export function isMigrationScript(entry: FolderEntry): boolean {
  const text = entry.text();
  return /\bexports?\b/.test(text) && /\bup\b/.test(text);
}

function parseSqlName(file: string, isNested: boolean): FileName {
  const stem = file.slice(0, -'.sql'.length);
  const flyway = /^(?:([VUB])(\d+(?:[._]\d+)*)|R)__(.+)$/.exec(stem);
  if (flyway !== null) {
    const prefix = prefixOf(flyway[1]);
    return { family: 'flyway', prefix, version: flyway[2]?.replaceAll('_', '.'), name: flyway[3] ?? '' };
  }
  // Flyway alone descends into folders; others keep other things there.
  if (isNested) return { family: 'passed-over', reason: 'in a subfolder' };
  if (/^(?:before|after)[A-Z]\w*$|^createSchema$/.test(stem.split('__')[0] ?? '')) {
    return { family: 'unsupported', what: 'a Flyway callback' };
  }
  const match = /^(\d+(?:\.\d+)*)(?:_(.*?))?(?:\.(up|down))?$/.exec(stem);
  if (match === null) return { family: 'unreadable' };
  const suffixes = parseSuffixes(match[2] ?? '');
  if (suffixes === undefined) return { family: 'passed-over', reason: 'for another database' };
  const { name, dialect, transaction } = suffixes;
  const version = match[1] ?? '';
  const direction = match[3] === 'up' || match[3] === 'down' ? match[3] : undefined;
  if (direction === undefined) return { family: 'numbered', version, name, dialect };
  return { family: 'pair', version, name, dialect, direction, transaction };
}

function prefixOf(letter: string | undefined): 'V' | 'U' | 'B' | 'R' {
  return letter === 'V' || letter === 'U' || letter === 'B' ? letter : 'R';
}

/** Takes `.mysql`, `.autocommit` and the like off a name; undefined when they say that it is for another database. */
function parseSuffixes(
  name: string,
): { name: string; dialect: 'mysql' | 'mariadb' | undefined; transaction: boolean } | undefined {
  const parts = name.split('.');
  let dialect: 'mysql' | 'mariadb' | undefined;
  let transaction = true;
  for (
    let last = parts.at(-1)?.toLowerCase();
    parts.length > 1 && last !== undefined;
    last = parts.at(-1)?.toLowerCase()
  ) {
    if (otherDialects.has(last)) return undefined;
    if (last === 'mysql' || last === 'mariadb') dialect = last;
    else if (last === 'autocommit') transaction = false;
    else break;
    parts.pop();
  }
  return { name: parts.join('.'), dialect, transaction };
}

function parseScriptName(file: string): FileName {
  if (/\.d\.[cm]?ts$|\.(?:test|spec)\.\w+$/i.test(file)) return { family: 'passed-over', reason: 'not a migration' };
  const base = file.replace(/\.\w+$/, '');
  const numbered = /^(\d+(?:\.\d+)*)(?:_(.*))?$/.exec(base);
  if (numbered !== null) {
    const suffixes = parseSuffixes(numbered[2] ?? '');
    if (suffixes === undefined) return { family: 'passed-over', reason: 'for another database' };
    const { name, dialect } = suffixes;
    return { family: 'script', version: numbered[1] ?? '', name, dialect, isNumbered: true, base };
  }
  // `2024-08-24-0000-name`, and `20201028A-name` where a letter numbers the migrations of a day.
  const dated = /^(\d+(?:-\d+)*)(?:([A-Z])(?=[-_]))?[-_](.*)$/.exec(base);
  if (dated === null) return { family: 'unreadable' };
  const letter = dated[2] === undefined ? '' : `.${dated[2].charCodeAt(0) - 64}`;
  const version = `${(dated[1] ?? '').replaceAll('-', '.')}${letter}`;
  return { family: 'script', version, name: dated[3] ?? '', dialect: undefined, isNumbered: false, base };
}
