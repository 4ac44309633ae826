/**
 * Writes the documents that come from the code: docs/errors.md, docs/configuration.md and the chart's schema of the load
 * configuration. `--check` writes nothing and fails where a file differs, or where a code is thrown that no catalogue has.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { commonErrors, type ErrorCatalogue } from '@tableset/common/errors.ts';
import type { Verb } from '@tableset/common/program.ts';
import { defaultColumn } from '@tableset/common/settings/help.ts';
import type { SettingTable } from '@tableset/common/settings/settings.ts';
import { configurationReference } from '../loader/src/config/reference.ts';
import { loaderErrors } from '../loader/src/errors.ts';
import { serviceErrors } from '../loader/src/service/errors.ts';
import { loaderVerbs } from '../loader/src/verbs/index.ts';
import { migrationErrors } from '../migrator/src/errors.ts';
import { migratorVerbs } from '../migrator/src/verbs/index.ts';

const root = join(import.meta.dirname, '..');
const notice = '<!-- Written by `node tools/docs.ts` from the code; change it there. -->';

const documents: Readonly<Record<string, string>> = {
  'docs/errors.md': errorsDocument(),
  'docs/configuration.md': configurationDocument(),
};

function errorsDocument(): string {
  const parts = [
    `# Errors\n\n${notice}\n\nEvery error has a code, an exit code, a cause and a remedy. Exit codes: 0 done, 1 a passing fault, 2 settings or usage, 3 data or schema refused, 75 another run holds the lock, 143 stopped by SIGTERM.\n`,
    section('Both images', commonErrors),
    section('migrator', migrationErrors),
    section('loader', loaderErrors),
    section('loader serve', serviceErrors),
  ];
  return parts.join('\n');
}

function section(title: string, catalogue: ErrorCatalogue): string {
  const rows = Object.entries(catalogue)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, entry]) => `| \`${code}\` | ${entry.exit} | ${cell(entry.cause)} | ${cell(entry.remedy)} |`);
  return `## ${title}\n\n| code | exit | cause | remedy |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`;
}

function configurationDocument(): string {
  return [
    `# Configuration\n\n${notice}\n`,
    'A flag comes before its environment variable, that before the configuration file, that before the default. A bad value is an error that names the setting, what it was given (secrets aside) and what it takes.\n',
    '# Flags and variables\n',
    ...programSections('migrator', migratorVerbs),
    ...programSections('loader', loaderVerbs),
    '# The configuration file\n',
    'The file that `loader --config` names; it has `load`, `archive` or both. `loader validate` checks one, `loader schema` prints its JSON Schema for editors.\n',
    configurationReference(),
  ].join('\n');
}

/** Settings that every verb of a program has stand once; then what each verb adds. */
function programSections(program: string, verbs: readonly Verb[]): string[] {
  const shared = Object.keys(verbs[0]?.settings ?? {}).filter((key) => verbs.every((verb) => key in verb.settings));
  const pick = (table: SettingTable, keys: readonly string[]) =>
    Object.fromEntries(Object.entries(table).filter(([key]) => keys.includes(key)));
  const [first] = verbs;
  const sections = first ? [`## ${program}: every verb\n\n${settingsTable(pick(first.settings, shared))}`] : [];
  for (const verb of verbs) {
    const own = Object.keys(verb.settings).filter((key) => !shared.includes(key));
    sections.push(
      `## ${program} ${verb.name}\n\n${verb.meaning}\n\n\`${program} ${verb.name} ${verb.usage}`.trimEnd() +
        `\`\n${own.length === 0 ? '' : `\n${settingsTable(pick(verb.settings, own))}`}`,
    );
  }
  return sections;
}

function settingsTable(table: SettingTable): string {
  const rows = Object.values(table).map((setting) => {
    const flag = setting.flag === undefined ? '' : `\`--${setting.flag}\``;
    const variable = setting.env === undefined ? '' : `\`${setting.env}\``;
    const file = setting.file === undefined ? '' : `\`${setting.file}\``;
    return `| ${flag} | ${variable} | ${file} | ${cell(setting.kind.takes)} | ${cell(defaultColumn(setting))} | ${cell(setting.meaning)} |`;
  });
  return `| flag | variable | file | takes | default | meaning |\n| --- | --- | --- | --- | --- | --- |\n${rows.join('\n')}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

const check = process.argv.includes('--check');
let stale = 0;
for (const [path, text] of Object.entries(documents)) {
  const current = await readFile(join(root, path), 'utf8').catch(() => null);
  if (current === text) continue;
  if (check) {
    console.error(`${path} is not what the code says; run \`node tools/docs.ts\``);
    stale++;
  } else {
    await writeFile(join(root, path), text);
    console.log(`wrote ${path}`);
  }
}
if (stale > 0) process.exitCode = 1;
