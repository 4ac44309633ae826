import type { Invocation } from '@tableset/common/program.ts';
import { resolveSettings, type SettingSources } from '@tableset/common/settings/settings.ts';
import type { LoadConfig } from '../config/load-config.ts';
import { readConfig } from '../config/read.ts';
import { configSettingTable } from '../settings.ts';

/** Configurations by path, so that the file whose values settings come from is the one that the verb then uses. */
const configs = new Map<string, LoadConfig>();

/** `readFile` of a verb that goes by the configuration file. */
export async function readConfigFile({ given, env }: Invocation): Promise<SettingSources['file']> {
  const { config: path } = resolveSettings(configSettingTable, given, { env });
  const config = await readConfig(path);
  configs.set(path, config);
  return { path, values: config.values };
}

/** The configuration that `readConfigFile` has read. */
export async function configOf(path: string): Promise<LoadConfig> {
  return configs.get(path) ?? (await readConfig(path));
}
