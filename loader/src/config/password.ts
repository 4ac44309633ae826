import { commonError } from '@tableset/common/errors.ts';
import { registerSecret } from '@tableset/common/output/redact.ts';
import { readSecretFile } from '@tableset/common/settings/settings.ts';

/** Where the password of a server in the configuration stands; neither: there is none. */
export interface PasswordPlace {
  readonly passwordFile?: string | undefined;
  readonly passwordEnv?: string | undefined;
}

/**
 * Reads the password of a server in the configuration.
 * @param section of the file, such as `databases.other`, for messages
 * @throws AppError CONFIG_UNREADABLE for the file, SETTING_MISSING for the variable
 */
export function readPassword(
  section: string,
  { passwordFile, passwordEnv }: PasswordPlace,
  env: Readonly<Record<string, string | undefined>>,
): string {
  if (passwordFile !== undefined) return readSecretFile(passwordFile, `${section}.passwordFile`);
  if (passwordEnv === undefined) return '';
  const value = env[passwordEnv];
  if (value === undefined)
    throw commonError('SETTING_MISSING', `${section}.passwordEnv names ${passwordEnv}, which is not set`);
  registerSecret(value);
  return value;
}
