import { existsSync, readFileSync } from 'node:fs';
import { registerHooks, stripTypeScriptTypes } from 'node:module';
import { sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import knexModule, { type Knex } from 'knex';
import { migrationError } from '../errors.ts';

/** What a script migration exports. */
export interface ScriptMigration {
  readonly up: (knex: Knex) => unknown;
  readonly down: ((knex: Knex) => unknown) | null;
  /** Whether it wants to run in a transaction; false where it declines one. */
  readonly transaction: boolean;
}

const knexKey = Symbol.for('tableset.knex');
const knexUrl = 'tableset-knex:';
const endings = ['.ts', '.js', '.mts', '.mjs', '.cjs', '.cts', '/index.ts', '/index.js'];

/**
 * Loads a migration written for knex, as it stands in another project: TypeScript with enums and namespaces, ES modules or
 * CommonJS whatever its ending, imports without an ending, and `knex` itself from the image.
 * @throws AppError MIGRATION_SCRIPT_FAILED
 */
export async function loadScript(path: string, file: string): Promise<ScriptMigration> {
  useHooks();
  let loaded: unknown;
  try {
    loaded = await import(pathToFileURL(path).href);
  } catch (cause) {
    throw migrationError('MIGRATION_SCRIPT_FAILED', `${file} cannot be loaded: ${messageOf(cause)}`, { cause });
  }
  const exported = exportsOf(loaded);
  if (exported === null) {
    throw migrationError('MIGRATION_SCRIPT_FAILED', `${file} exports no function named up`);
  }
  return exported;
}

/** The exports themselves, or those of the default export, which CommonJS seen from an ES module has too. */
function exportsOf(loaded: unknown): ScriptMigration | null {
  for (let candidate = loaded, depth = 0; depth < 3; depth += 1) {
    if (typeof candidate !== 'object' || candidate === null) return null;
    if ('up' in candidate && typeof candidate.up === 'function') {
      const config = 'config' in candidate ? candidate.config : null;
      const declines =
        typeof config === 'object' && config !== null && 'transaction' in config && config.transaction === false;
      const down = 'down' in candidate && typeof candidate.down === 'function' ? candidate.down : null;
      return {
        // knex's contract for migrations; what they return is awaited.
        up: candidate.up as ScriptMigration['up'],
        down: down as ScriptMigration['down'],
        transaction: !declines,
      };
    }
    candidate = 'default' in candidate ? candidate.default : null;
  }
  return null;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

let hooked = false;

function useHooks(): void {
  if (hooked) return;
  hooked = true;
  Object.assign(globalThis, { [knexKey]: knexModule });
  registerHooks({
    resolve(specifier, context, nextResolve) {
      if (specifier === 'knex') {
        const names = context.parentURL?.startsWith('file:') ? importedNames(context.parentURL) : [];
        const kind = context.conditions.includes('require') ? 'require' : 'import';
        return { url: `${knexUrl}${kind}?${names.join(',')}`, shortCircuit: true };
      }
      try {
        return nextResolve(specifier, context);
      } catch (error) {
        const url = withEnding(specifier, context.parentURL);
        if (url === null) throw error;
        return nextResolve(url, context);
      }
    },
    load(url, context, nextLoad) {
      if (url.startsWith(knexUrl)) return { ...knexSource(url), shortCircuit: true };
      if (!isOwnSource(url)) return nextLoad(url, context);
      const path = fileURLToPath(url);
      const source = readFileSync(path, 'utf8');
      const javascript = /\.[cm]?ts$/.test(path) ? withoutTypes(source) : source;
      return { format: formatOf(path, javascript), source: javascript, shortCircuit: true };
    },
  });
}

/** Files of the migrations and what they import from beside them; installed packages are loaded as usual. */
function isOwnSource(url: string): boolean {
  return (
    url.startsWith('file:') &&
    /\.(?:[cm]?ts|js)$/.test(url) &&
    !fileURLToPath(url).includes(`${sep}node_modules${sep}`) &&
    !fileURLToPath(url).startsWith(import.meta.dirname)
  );
}

const moduleSyntax = /^\s*(?:import\s*(?:[\w*{'"]|type\s)|export\s)/m;

function formatOf(path: string, source: string): 'module' | 'commonjs' {
  if (/\.m[jt]s$/.test(path)) return 'module';
  if (/\.c[jt]s$/.test(path)) return 'commonjs';
  return moduleSyntax.test(source) ? 'module' : 'commonjs';
}

function withoutTypes(source: string): string {
  // Node marks the function as experimental on its first use, once a process, amid the program's own output.
  const { emitWarning } = process;
  process.emitWarning = () => undefined;
  try {
    return withoutUnusedImports(stripTypeScriptTypes(source, { mode: 'transform' }));
  } finally {
    process.emitWarning = emitWarning;
  }
}

const namedImport =
  /^[ \t]*import[ \t]+(?:([\w$]+)[ \t]*,[ \t]*)?(?:\{([^}]*)\}|([\w$]+)|\*[ \t]+as[ \t]+([\w$]+))[ \t\r\n]*from[ \t]*(['"][^'"]+['"]);?/gm;

/**
 * TypeScript leaves out imports that served as types only; what they name need not exist at run time. Removing the types keeps
 * them, so that they are left out here: those whose names occur nowhere else.
 */
function withoutUnusedImports(source: string): string {
  return source.replace(
    namedImport,
    (statement, first: string, named: string, only: string, all: string, from: string) => {
      const uses = (name: string) =>
        [...source.matchAll(new RegExp(`(?<![\\w$.])${name.replaceAll('$', '\\$')}(?![\\w$])`, 'g'))].length;
      const isUsed = (binding: string) =>
        uses(
          binding
            .trim()
            .split(/\s+as\s+/)
            .at(-1)
            ?.trim() ?? '',
        ) > 1;
      const alone = [first, only, all].filter((name) => name !== undefined);
      if (named === undefined) return alone.some(isUsed) ? statement : '';
      const kept = named.split(',').filter((binding) => binding.trim() !== '' && isUsed(binding));
      if (kept.length === 0 && !alone.some(isUsed)) return '';
      return `import ${first === undefined ? '' : `${first}, `}{ ${kept.map((binding) => binding.trim()).join(', ')} } from ${from};`;
    },
  );
}

/** The names that a module imports from knex: every one must be exported for it to load at all, types among them. */
function importedNames(parentUrl: string): readonly string[] {
  const source = readFileSync(fileURLToPath(parentUrl), 'utf8');
  const names = new Set<string>();
  for (const match of source.matchAll(/(?:import|export)\s+(?:[\w$]+\s*,\s*)?\{([^}]*)\}\s*from\s*['"]knex['"]/g)) {
    for (const binding of (match[1] ?? '').split(',')) {
      const name =
        binding
          .trim()
          .replace(/^type\s+/, '')
          .split(/\s+as\s+/)[0] ?? '';
      if (/^[A-Za-z_$][\w$]*$/.test(name) && name !== 'default') names.add(name);
    }
  }
  return [...names];
}

function knexSource(url: string): { format: 'module' | 'commonjs'; source: string } {
  const [kind, names = ''] = url.slice(knexUrl.length).split('?');
  const bundled = `globalThis[Symbol.for('tableset.knex')]`;
  if (kind === 'require') return { format: 'commonjs', source: `module.exports = ${bundled};` };
  const lines = names
    .split(',')
    .filter((name) => name !== '')
    .map((name) => `export const ${name} = ${name === 'knex' ? 'bundled' : `bundled.${name}`};`);
  return { format: 'module', source: [`const bundled = ${bundled};`, 'export default bundled;', ...lines].join('\n') };
}

/** Imports without an ending, as compilers and bundlers allow them; `./a.js` also means `./a.ts`. */
function withEnding(specifier: string, parentUrl: string | undefined): string | null {
  if (!/^\.{1,2}\//.test(specifier) || !parentUrl?.startsWith('file:')) return null;
  const base = new URL(specifier, parentUrl);
  const candidates = [...endings.map((ending) => base.href + ending), base.href.replace(/\.([cm]?)js$/, '.$1ts')];
  return candidates.find((candidate) => candidate !== base.href && existsSync(fileURLToPath(candidate))) ?? null;
}
