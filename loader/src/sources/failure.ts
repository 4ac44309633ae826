import type { AppError } from '@tableset/common/errors.ts';
import { loaderError } from '../errors.ts';

/** The system's code of an error, such as ENOENT, or null. */
export function systemCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

/** Turns what the file system threw into the documented error. */
export function fileFailure(error: unknown, path: string): AppError {
  const code = systemCode(error);
  const said = `${path} cannot be read (${code ?? 'unknown error'})`;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return loaderError('LOAD_SOURCE_MISSING', `${path} does not exist`, { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'ELOOP' || code === 'ENAMETOOLONG' || code === 'EISDIR') {
    return loaderError('LOAD_SOURCE_UNREADABLE', said, { cause: error });
  }
  // EIO, ESTALE, EMFILE and the like pass, or the volume comes back.
  return loaderError('LOAD_SOURCE_UNREACHABLE', said, { cause: error, hint: 'Check the volume, then run it again.' });
}

/** An address for messages: without user, password, query and fragment, which can all hold credentials. */
export function publicAddress(address: string | URL): string {
  const url = new URL(address);
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** Refuses what no retry cures although there was no answer: a certificate that is not trusted, or a header that cannot be sent. */
export function refusedConnection(error: unknown, name: string): AppError | null {
  const code = systemCode(error) ?? '';
  if (/^(?:ERR_TLS_|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA)/.test(code)) {
    return loaderError('LOAD_SOURCE_REFUSED', `the certificate of ${name} is not trusted (${code})`, {
      cause: error,
      hint: 'Name the file of its authority with caFile or NODE_EXTRA_CA_CERTS.',
    });
  }
  if (code !== 'ERR_INVALID_CHAR') return null;
  // The cause is left out: it may repeat the value.
  return loaderError('LOAD_SOURCE_REFUSED', `a request header of ${name} has characters that cannot be sent`, {
    hint: 'Look for line ends inside the files of headerFiles.',
  });
}

/** How the status of an HTTP answer that is not the content ends the transfer. */
export type StatusVerdict = 'missing' | 'changed' | 'retry' | 'refused';

export function statusVerdict(status: number): StatusVerdict {
  if (status === 404 || status === 410) return 'missing';
  // 412: If-Match failed; 416: the rest that was asked for is not there any more.
  if (status === 412 || status === 416) return 'changed';
  return status === 408 || status === 425 || status === 429 || status >= 500 ? 'retry' : 'refused';
}

/** The error of an answer that is not the content. */
export function statusFailure(status: number, name: string, cause?: unknown): AppError {
  const options = { cause, details: { status } };
  const verdict = statusVerdict(status);
  switch (verdict) {
    case 'missing':
      return loaderError('LOAD_SOURCE_MISSING', `${name} does not exist (${status})`, options);
    case 'changed':
      return sourceChanged(name, `the server says that it is another version now (${status})`);
    case 'retry':
      return loaderError('LOAD_SOURCE_UNREACHABLE', `${name} was answered with ${status}`, options);
    case 'refused':
      return loaderError('LOAD_SOURCE_REFUSED', `${name} was answered with ${status}`, options);
    default:
      throw new Error(`unknown verdict ${String(verdict satisfies never)}`);
  }
}

export function sourceChanged(name: string, how: string): AppError {
  return loaderError('LOAD_SOURCE_CHANGED', `${name} changed during the run: ${how}`);
}
