import type { AppError } from '../errors.ts';
import type { DatabaseSettings } from '../settings/database.ts';
import { databaseFailure } from './failure.ts';

/** Where each failed statement ran, for the message. */
export const failedOn = new WeakMap<Error, DatabaseSettings>();

/** The documented error for what a `Connection` threw; null for anything else. */
export function explainDatabaseError(error: unknown): AppError | null {
  const settings = error instanceof Error ? failedOn.get(error) : undefined;
  if (!settings) return null;
  const statement = error instanceof Error && 'sql' in error ? String(error.sql) : '';
  return databaseFailure(error, { settings, statement });
}
