import { resolveSettings } from '@tableset/common/settings/settings.ts';
import { type ServiceSettings, serviceSettingTable } from '../../src/settings-service.ts';

/** The settings of a service with their defaults, but for those that are given. */
export function serviceSettings(given: Partial<ServiceSettings>): ServiceSettings {
  const env = { DB_HOST: '127.0.0.1', DB_USER: 'nobody', DB_NAME: 'nothing' };
  return { ...resolveSettings(serviceSettingTable, new Map(), { env }), ...given };
}
