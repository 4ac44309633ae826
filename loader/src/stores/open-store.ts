import { setFlagsFromString } from 'node:v8';
import type { Connection } from '@tableset/common/database/connection.ts';
import type { Fields } from '@tableset/common/output/output.ts';
import type { StoreSettings } from '../config/archive-config.ts';
import type { ArchiveStore } from './store.ts';

export interface StoreContext {
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
  switch (settings.kind) {
    case 'mysql': {
      const { openMysqlStore } = await import('./mysql-store.ts');
      return await openMysqlStore(settings, context);
    }
    case 'filesystem': {
      keepNewSpaceSmall();
      const { openFilesystemStore } = await import('./filesystem-store.ts');
      return await openFilesystemStore(settings, context);
    }
    case 's3': {
      keepNewSpaceSmall();
      const { openS3Store } = await import('./s3-store.ts');
      return await openS3Store(settings, context);
    }
    case 'sqlite': {
      const { openSqliteStore } = await import('./sqlite-store.ts');
      return openSqliteStore(settings, context);
    }
    default:
      throw new Error(`unknown store ${String(settings satisfies never)}`);
  }
}

/** Rows on their way to a store are short-lived, and V8 answers that with a new space of up to 128 MiB, without being any faster. */
export function keepNewSpaceSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
