import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { LookupFunction } from 'node:net';
import { AppError, commonError } from '@tableset/common/errors.ts';
import { readSecretFile } from '@tableset/common/settings/settings.ts';
import type { HttpSourceSettings } from '../config/source-settings.ts';
import { loaderError } from '../errors.ts';
import { guardedLookup, localAddressGuard } from '../http/guarded-lookup.ts';
import { type HttpRequest, sendRequest } from '../http/request.ts';
import { download, type Part, Passing } from './download.ts';
import { publicAddress, statusFailure, statusVerdict, systemCode } from './failure.ts';
import type { RawFile, RawFiles, ServerIdentity } from './raw-files.ts';
import { type SourceContext, type TransferTiming, transferTiming } from './source.ts';

const redirectsMax = 5;

/** One address over https or http. */
export function httpFiles(settings: HttpSourceSettings, context: Pick<SourceContext, 'warn' | 'timing'>): RawFiles {
  const timing = { ...transferTiming, ...context.timing };
  const name = publicAddress(settings.url);
  if (settings.url.startsWith('http:'))
    context.warn('a source is read over plain http, where anyone on the way can change it', { source: name });
  const file: RawFile = {
    name,
    localPath: null,
    bytes: (signal, seen) =>
      download(
        name,
        async ({ offset, strongEtag }, stop) => {
          // The quoted form is an ETag; a date of modification cannot be made a condition safely.
          const etag = strongEtag ?? (seen?.value.startsWith('"') ? seen.value : null);
          const headers = {
            ...(etag === null ? {} : { 'if-match': etag }),
            ...(offset > 0 ? { range: `bytes=${offset}-` } : {}),
          };
          return partOf(await answer(settings, 'GET', headers, name, timing, stop), settings, name, offset);
        },
        timing,
        signal,
        seen,
      ),
  };
  return {
    describe: () => name,
    list: async () => [file],
    identities: async (signal) => new Map([[name, await headIdentity(settings, name, timing, signal)]]),
  };
}

/** What the server says of the content without sending it; null if it does not say, or knows no HEAD. */
async function headIdentity(
  settings: HttpSourceSettings,
  name: string,
  timing: TransferTiming,
  signal: AbortSignal,
): Promise<ServerIdentity | null> {
  try {
    const response = await answer(settings, 'HEAD', {}, name, timing, signal);
    response.resume();
    return response.statusCode === 200 ? identityOf(response) : null;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof AppError || error instanceof Passing || systemCode(error) !== null) {
      // Signed addresses answer GET alone, for one. The transfer itself says what is wrong; here it only means that nothing is known.
      return null;
    }
    throw error;
  }
}

/** Sends the request along its redirects and gives the answer to the last; answers with a body that is not wanted are closed. */
async function answer(
  settings: HttpSourceSettings,
  method: 'GET' | 'HEAD',
  conditions: Readonly<Record<string, string>>,
  name: string,
  timing: TransferTiming,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const start = new URL(settings.url);
  const secrets = secretHeaders(settings);
  const ca = settings.caFile === null ? undefined : authorities(settings.caFile);
  let url = start;
  for (let redirects = 0; ; redirects++) {
    const own = url.origin === start.origin;
    const request: HttpRequest = {
      url,
      method,
      // Compression on the way would hide the length, and whether it was cut.
      headers: {
        'user-agent': 'tableset-loader',
        'accept-encoding': 'identity',
        ...conditions,
        ...(own ? secrets : {}),
      },
      connectTimeoutMs: timing.connectTimeoutMs,
      responseTimeoutMs: timing.responseTimeoutMs,
      signal,
      ...(ca === undefined ? {} : { ca }),
      // The operator trusts the address that the file names; where the server sends us from there is the server's idea.
      ...(own ? {} : { lookup: redirectLookup(start, url, name), ownConnection: true }),
    };
    const response = await sendRequest(request);
    const status = response.statusCode ?? 0;
    if (status === 200 || status === 206) return response;
    if (method === 'HEAD' && (status === 405 || status === 501)) return response;
    response.destroy();
    const target =
      status === 301 || status === 302 || status === 303 || status === 307 || status === 308
        ? response.headers.location
        : undefined;
    if (target === undefined) {
      const failure = statusFailure(status, name);
      throw statusVerdict(status) === 'retry' ? new Passing(failure, retryAfterMs(response)) : failure;
    }
    if (redirects >= redirectsMax)
      throw loaderError('LOAD_SOURCE_REFUSED', `${name} redirects more than ${redirectsMax} times`);
    url = redirected(url, target, name);
  }
}

function redirected(from: URL, target: string, name: string): URL {
  if (!URL.canParse(target, from.href))
    throw loaderError('LOAD_SOURCE_REFUSED', `${name} redirects to what is not an address`);
  const url = new URL(target, from);
  if (url.username !== '' || url.password !== '')
    throw loaderError('LOAD_SOURCE_REFUSED', `${name} redirects to an address with a user in it`);
  if (url.protocol !== 'https:' && (url.protocol !== 'http:' || from.protocol === 'https:')) {
    throw loaderError('LOAD_SOURCE_REFUSED', `${name} redirects from ${from.protocol}// to ${url.protocol}//`, {
      hint: 'Use the final https address as the source.',
    });
  }
  return url;
}

function redirectLookup(start: URL, url: URL, name: string): LookupFunction {
  return guardedLookup(url, {
    guard: localAddressGuard(start.hostname),
    failure: (what) =>
      loaderError('LOAD_SOURCE_REFUSED', `${name} redirects to ${what}, an address of this machine or of its cloud`),
  });
}

/** The values are read for each request, so that a rotated credential is used at once. */
function secretHeaders(settings: HttpSourceSettings): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [header, file] of Object.entries(settings.headerFiles)) {
    headers[header.toLowerCase()] = readSecretFile(file, `headerFiles.${header}`);
  }
  return headers;
}

function authorities(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw commonError('CONFIG_UNREADABLE', `caFile names ${file}, which cannot be read (${systemCode(cause)})`, {
      cause,
    });
  }
}

function retryAfterMs(response: IncomingMessage): number | null {
  const seconds = response.headers['retry-after'];
  return seconds !== undefined && /^\d{1,6}$/.test(seconds) ? Number(seconds) * 1000 : null;
}

function partOf(response: IncomingMessage, settings: HttpSourceSettings, name: string, asked: number): Part {
  try {
    refuseEncoded(response, name);
    const range = response.statusCode === 206 ? contentRange(response, name, asked) : null;
    const length = contentLength(response);
    const chunked = response.headers['transfer-encoding'] !== undefined;
    if (length === null && !chunked && settings.proof.sha256 === null && settings.proof.sizeBytes === null) {
      throw loaderError(
        'LOAD_SOURCE_LENGTH_UNKNOWN',
        `${name} comes without a length, so that a cut transfer would look complete`,
      );
    }
    const etag = response.headers.etag;
    return {
      body: response,
      offset: range?.offset ?? 0,
      totalBytes: range ? range.totalBytes : length,
      identity: identityOf(response),
      strongEtag: etag?.startsWith('"') ? etag : null,
    };
  } catch (error) {
    response.destroy();
    throw error;
  }
}

/** A server that compresses although it was asked not to; for a `.gz` file the label is a known slip and the bytes are right. */
function refuseEncoded(response: IncomingMessage, name: string): void {
  const encoding = response.headers['content-encoding'] ?? 'identity';
  if (encoding === 'identity' || encoding === '') return;
  if ((encoding === 'gzip' || encoding === 'x-gzip') && name.endsWith('.gz')) return;
  throw loaderError(
    'LOAD_SOURCE_REFUSED',
    `${name} is sent with content-encoding ${encoding}, which was not asked for`,
    { hint: 'Have the server send the file as it is, or name it by its ending (.gz).' },
  );
}

function contentRange(response: IncomingMessage, name: string, asked: number): { offset: number; totalBytes: number } {
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers['content-range'] ?? '');
  if (!match || Number(match[1]) !== asked)
    throw loaderError('LOAD_SOURCE_REFUSED', `${name} answered a request for the rest with another part`);
  return { offset: asked, totalBytes: Number(match[2]) };
}

function contentLength(response: IncomingMessage): number | null {
  const length = response.headers['content-length'];
  return length === undefined ? null : Number(length);
}

/** A date of modification tells versions apart only if it is a minute older than the answer: it counts whole seconds (RFC 9110, 8.8.2.2). */
function identityOf(response: IncomingMessage): ServerIdentity | null {
  const range = /\/(\d+)$/.exec(response.headers['content-range'] ?? '')?.[1];
  const bytes = range === undefined ? contentLength(response) : Number(range);
  if (response.headers.etag !== undefined) return { value: response.headers.etag, bytes };
  const modified = Date.parse(response.headers['last-modified'] ?? '');
  const now = Date.parse(response.headers.date ?? '');
  return now - modified >= 60_000
    ? { value: `modified ${new Date(modified).toISOString()}, ${bytes ?? 'unknown'} bytes`, bytes }
    : null;
}
