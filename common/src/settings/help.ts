import type { Setting, SettingTable } from './settings.ts';

/** Help of a table of settings: flag, variable, default and meaning of each, in columns. */
export function settingsHelp(table: SettingTable): string[] {
  const rows = Object.values(table)
    .filter((setting) => setting.flag !== undefined || setting.env !== undefined)
    .map((setting) => [flagColumn(setting), setting.env ?? '', defaultColumn(setting), setting.meaning] as const);
  const header = ['flag', 'variable', 'default', 'meaning'] as const;
  const widths = [0, 1, 2].map((column) => Math.max(...[header, ...rows].map((row) => (row[column] ?? '').length)));
  return [header, ...rows].map((row) =>
    `  ${row.map((cell, column) => (column < 3 ? cell.padEnd(widths[column] ?? 0) : cell)).join('  ')}`.trimEnd(),
  );
}

function flagColumn(setting: Setting<unknown>): string {
  if (setting.flag === undefined) return '';
  return setting.kind.placeholder === null ? `--${setting.flag}` : `--${setting.flag} ${setting.kind.placeholder}`;
}

/** What a setting has when it is not given: its default, "required" or "none". */
export function defaultColumn(setting: Setting<unknown>): string {
  if (setting.defaultMeaning !== undefined) return setting.defaultMeaning;
  if (setting.default !== undefined)
    return Array.isArray(setting.default) ? setting.default.join(',') || 'none' : String(setting.default);
  return setting.required ? 'required' : 'none';
}
