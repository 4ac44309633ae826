import type { S3ClientConfig } from '@aws-sdk/client-s3';
import { readSecretFile } from '@tableset/common/settings/settings.ts';
import type { S3Settings } from '../config/schema.ts';

/**
 * What an S3 client is made from: the endpoint, the credentials' files, which are read anew whenever the client asks, so that a rotated key is used without a
 * restart, and one try for each request, since whoever uses the client counts tries itself.
 * @param silenceTimeoutMs without a byte in either direction; the client's own limit on a whole request would only be logged, and be too short for a large one
 */
export function s3Config(
  settings: S3Settings,
  { connectTimeoutMs, silenceTimeoutMs }: { readonly connectTimeoutMs: number; readonly silenceTimeoutMs: number },
): S3ClientConfig {
  const { accessKeyIdFile, secretAccessKeyFile, sessionTokenFile } = settings;
  const config: S3ClientConfig = {
    forcePathStyle: settings.forcePathStyle,
    maxAttempts: 1,
    requestHandler: { connectionTimeout: connectTimeoutMs, socketTimeout: silenceTimeoutMs },
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    ...(settings.region === undefined ? {} : { region: settings.region }),
  };
  if (accessKeyIdFile !== undefined && secretAccessKeyFile !== undefined) {
    config.credentials = async () => ({
      accessKeyId: readSecretFile(accessKeyIdFile, 's3.accessKeyIdFile'),
      secretAccessKey: readSecretFile(secretAccessKeyFile, 's3.secretAccessKeyFile'),
      ...(sessionTokenFile === undefined
        ? {}
        : { sessionToken: readSecretFile(sessionTokenFile, 's3.sessionTokenFile') }),
    });
  }
  return config;
}
