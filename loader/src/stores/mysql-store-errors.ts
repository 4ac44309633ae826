import { explainDatabaseError } from '@tableset/common/database/connection.ts';
import { classifyFault, serverErrno } from '@tableset/common/database/errno.ts';
import { AppError } from '@tableset/common/errors.ts';
import { loaderError } from '../errors.ts';

/** The store is not the database that a run is about: what goes wrong with it is told as such. */
export function storeFailure(store: string, what: string, error: unknown): unknown {
  if (error instanceof AppError && !error.code.startsWith('DATABASE_')) return error;
  const explained = error instanceof AppError ? error : explainDatabaseError(error);
  if (!explained) return error;
  const errno = serverErrno(error);
  return loaderError('STORE_UNAVAILABLE', `store ${store}: ${what}: ${explained.message}`, {
    cause: error,
    hint: explained.hint,
    details: { store, code: explained.code, ...(errno === null ? {} : { errno }) },
  });
}

/** Null where the table is not there yet. */
export async function orMissing<T>(query: Promise<T>): Promise<T | null> {
  try {
    return await query;
  } catch (error) {
    if (classifyFault(error) === 'missing-table') return null;
    throw error;
  }
}

/** An id stands in statements as a number: only digits may. */
export function digits(id: string): string {
  if (!/^\d{1,20}$/.test(id)) throw new RangeError(`${JSON.stringify(id)} is no batch's id`);
  return id;
}
