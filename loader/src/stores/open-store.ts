import type { Connection } from '@tableset/common/database/connection.ts';
import type { Fields } from '@tableset/common/output/output.ts';
import type { StoreSettings } from '../config/archive-config.ts';
import { loaderError } from '../errors.ts';
import type { ArchiveStore } from './store.ts';

interface StoreContext {
  /** The lock's connection, or another to the same primary. */
  readonly primary: Connection;
  readonly signal: AbortSignal;
  readonly warn: (message: string, fields: Fields) => void;
}

/**
 * Opens a store of the configuration; its adapter is imported at first use.
 * @throws AppError STORE_UNAVAILABLE, ARCHIVE_STORE_UNSUITABLE
 */
export async function openStore(settings: StoreSettings, context: StoreContext): Promise<ArchiveStore> {
  if (settings.kind === 'mysql') {
    const { openMysqlStore } = await import('./mysql-store.ts');
    return await openMysqlStore(settings, context);
  }
  throw loaderError(
    'ARCHIVE_STORE_UNSUITABLE',
    `store ${settings.name}: this version archives to MySQL and MariaDB alone, not to ${settings.kind}`,
    { hint: 'Use a store of kind mysql.' },
  );
}
